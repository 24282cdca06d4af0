"""Fixtures of transformers' Informer (transformers 5.23.0), with the true future given to the decoder.

python tests/reference/informer_for_prediction.py
"""
import torch
import transformers
from transformers import InformerConfig, InformerForPrediction

from fill import inputs, tokens
from fixture import write_fixture


def call(model, x):
    config, real = model.config, torch.randint
    waiting = [v for k, v in x.items() if k.startswith("sample.")]
    torch.randint = lambda *_, **__: waiting.pop(0)
    flat = (lambda t: t.squeeze(-1)) if config.input_size == 1 else (lambda t: t)  # one series: the reference wants no axis for it
    try:
        out = model(past_values=flat(x["series"]), past_time_features=x["series_time"], past_observed_mask=flat(x["past_observed_mask"]),
                    static_categorical_features=x.get("static_categorical_features"), static_real_features=x.get("static_real_features"),
                    future_values=flat(x["future_values"]), future_time_features=x["future_time"])
    finally:
        torch.randint = real
    assert not waiting
    params = [p.reshape(x["future_values"].shape) for p in out.params]
    by, start = (t.reshape(len(params[0]), 1, -1) for t in (out.scale, out.loc))
    if config.distribution_output == "negative_binomial":  # the reference has put the scale into the logits, in place
        counts = torch.distributions.NegativeBinomial(total_count=params[0], logits=params[1])
        assert torch.allclose(-counts.log_prob(x["future_values"]).sum(-1).mean(), out.loss)
        return {"forecast": counts.mean, "distribution.weight": torch.ones_like(params[0]).unsqueeze(-1),
                "distribution.total_count": params[0].unsqueeze(-1), "distribution.logits": params[1].unsqueeze(-1)}, out.loss
    if config.distribution_output == "normal":
        loc, scale = params
        return {"forecast": loc * by + start, "distribution.loc": (loc * by + start).unsqueeze(-1), "distribution.scale": (scale * by).unsqueeze(-1)}, out.loss
    df, loc, scale = params
    return {"forecast": loc * by + start, "distribution.weight": torch.ones_like(df).unsqueeze(-1), "distribution.df": df.unsqueeze(-1),
            "distribution.loc": (loc * by + start).unsqueeze(-1), "distribution.scale": (scale * by).unsqueeze(-1)}, out.loss


def samples(config):
    if config.attention_type == "full":
        return {}
    lengths, length = {}, config.context_length
    for i in range(config.encoder_layers):
        lengths[f"encoder.{i}"] = length
        length = (length + 1) // 2 if config.distil and i + 1 < config.encoder_layers else length
    lengths.update({f"decoder.{i}": config.prediction_length for i in range(config.decoder_layers)})
    return {f"sample.{name}": tokens(f"sample.{name}", (n,), 0, 0, n) for name, n in lengths.items()}


def write(file, missing=False, **settings):
    settings = {"prediction_length": 8, "context_length": 20, "input_size": 2, "lags_sequence": [1, 2, 7], "num_time_features": 4, "sampling_factor": 1,
                "d_model": 32, "encoder_ffn_dim": 24, "decoder_ffn_dim": 40, "encoder_attention_heads": 4, "decoder_attention_heads": 2, **settings}
    config = InformerConfig(**settings)
    past, columns = config.context_length + max(config.lags_sequence), config.num_time_features + config.num_dynamic_real_features
    observed = torch.ones(2, past, config.input_size)
    if missing:
        observed[:, 10:15] = 0
        observed[0, :, 0] = 0  # never observed: the batch's scale stands in
    given = {"series": inputs("series", (2, past, config.input_size), 0) * observed * 3 + 0.5 * observed,
             "series_time": inputs("series_time", (2, past, columns), 0, -0.5, 0.5), "past_observed_mask": observed,
             "future_values": inputs("future_values", (2, config.prediction_length, config.input_size), 0),
             "future_time": inputs("future_time", (2, config.prediction_length, columns), 0, -0.5, 0.5), **samples(config)}
    if config.distribution_output == "negative_binomial":  # counts
        for name in ("series", "future_values"):
            given[name] = (given[name].abs() * 4).floor()
    if config.num_static_categorical_features:
        given["static_categorical_features"] = torch.stack([tokens(f"static.{i}", (2,), 0, 0, n) for i, n in enumerate(config.cardinality)], -1)
    if config.num_static_real_features:
        given["static_real_features"] = inputs("static_real_features", (2, config.num_static_real_features), 0)
    distil = config.distil and config.encoder_layers > 1
    model = InformerForPrediction(config)
    write_fixture(file, model, name="informer_for_prediction",
                  config={**settings, "architectures": ["InformerForPrediction"], "model_type": "informer"}, call=call, inputs=given,
                  reference={"package": "transformers", "version": transformers.__version__, "class": "InformerForPrediction"},
                  mids=["model.encoder.value_embedding.value_projection", "model.encoder.layers.0.self_attn", "model.encoder.layers.0",
                        *(["model.encoder.conv_layers.0"] if distil else []), "model.encoder", "model.decoder.layernorm_embedding",
                        "model.decoder.layers.0.self_attn", "model.decoder.layers.0.encoder_attn", "model.decoder.layers.0.fc1", "model.decoder.layers.0", "model.decoder",
                        "parameter_projection.proj.0"],
                  grads=["model.encoder.value_embedding.value_projection.weight", "model.encoder.layers.0.self_attn.q_proj.weight",
                         *(["model.encoder.conv_layers.0.downConv.weight"] if distil else []), "model.encoder.layers.0.fc1.weight",
                         *(["model.embedder.embedders.0.weight"] if config.num_static_categorical_features else []),
                         "model.decoder.layers.0.self_attn.v_proj.weight", "model.decoder.layers.1.encoder_attn.k_proj.weight", "model.decoder.layernorm_embedding.bias",
                         *(f"parameter_projection.proj.{i}.weight" for i in range(len(model.parameter_projection.proj)))])


if __name__ == "__main__":
    write("informer_for_prediction.safetensors")
    write("informer_for_prediction.missing.safetensors", missing=True, encoder_layers=3)
    write("informer_for_prediction.static.safetensors", input_size=1, scaling="std", attention_type="full", distil=False, num_dynamic_real_features=1,
          num_static_real_features=2, num_static_categorical_features=2, cardinality=[5, 3], embedding_dimension=[4, 2], activation_function="relu")
    write("informer_for_prediction.unscaled.safetensors", scaling=None, context_length=15, sampling_factor=5)
    write("informer_for_prediction.normal.safetensors", distribution_output="normal", scaling="std")
    write("informer_for_prediction.counts.safetensors", distribution_output="negative_binomial")
