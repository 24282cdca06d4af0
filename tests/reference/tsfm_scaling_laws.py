"""Fixtures of the two networks of TSFM-ScalingLaws, from a clone of github.com/Qingrenn/TSFM-ScalingLaws at commit d157a26.

python tests/reference/tsfm_scaling_laws.py path/to/TSFM-ScalingLaws
Needs einops and huggingface_hub; hydra, lightning, gluonts and jaxtyping's annotations are no part of the networks and are
stood in for.
"""
import importlib
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import torch

from fill import inputs
from fixture import write_fixture

COMMIT = "d157a26a2de53a6c0a4c53087de88bf45ee4b34e"
ROOT = Path(sys.argv[1])


class Module(torch.nn.Module):
    """Stands in for LightningModule."""

    def save_hyperparameters(self, *_, **__):
        pass


class Annotation:
    """Stands in for jaxtyping's Float[Tensor, "..."] and the like."""

    def __class_getitem__(cls, _):
        return torch.Tensor


jaxtyping = sys.modules["jaxtyping"] = types.ModuleType("jaxtyping")
jaxtyping.Float = jaxtyping.Int = jaxtyping.Bool = jaxtyping.PyTree = jaxtyping.Num = Annotation
for name in ("hydra", "hydra.utils", "gluonts", "gluonts.model", "gluonts.torch", "gluonts.transform", "gluonts.transform.split"):
    sys.modules[name] = MagicMock()
sys.modules["lightning"] = types.ModuleType("lightning")
sys.modules["lightning"].LightningModule = Module
for name in ("tsfm", "tsfm.model", "tsfm.model.encoder", "tsfm.model.decoder"):  # without their __init__, which loads the trainers
    package = types.ModuleType(name)
    package.__path__ = [str(ROOT.joinpath(*name.split(".")))]
    sys.modules[name] = package
encoder = importlib.import_module("tsfm.model.encoder.module")
decoder = importlib.import_module("tsfm.model.decoder.module")
encoder_forecast = importlib.import_module("tsfm.model.encoder.forecast")
PackedNLLLoss = importlib.import_module("tsfm.loss.packed.distribution").PackedNLLLoss
distribution = importlib.import_module("tsfm.distribution")


def build(side, components=4, **config):
    head = distribution.MixtureOutput([distribution.StudentTOutput() for _ in range(components)])
    return side.BasicModule(distr_output=head, attn_dropout_p=0.0, dropout_p=0.0, **config)


def parameters(distr):
    """The mixture's parameters in the units of the target, [..., K]."""
    mixture = distr.base_dist
    stack = lambda part: torch.stack([getattr(c, part) for c in mixture.components], -1)
    loc, scale = distr.loc.unsqueeze(-1), distr.scale.unsqueeze(-1)
    return {"distribution.weight": mixture.weights.probs, "distribution.df": stack("df"),
            "distribution.loc": stack("loc") * scale + loc, "distribution.scale": stack("scale") * scale}


def taps(config):
    layers = [f"encoder.layers.{i}" for i in range(config["num_layers"])]
    parts = [f"{layer}{part}" for layer in layers for part in (".norm1", ".self_attn.q_norm", ".self_attn", ".ffn", "")]
    return ["in_proj", *parts, "encoder", "param_proj.proj.weights_logits", "param_proj.proj.components.1.df", "param_proj.proj.components.0.scale"]


def gradients(side):
    own = ["mask_encoding.weight"] if side is encoder else []
    layer = [f"encoder.layers.0.{key}.weight" for key in ("self_attn.q_proj", "self_attn.k_norm", "self_attn.out_proj", "ffn.fc_gate", "ffn.fc2", "norm1")]
    return own + ["in_proj.weight", "in_proj.bias", *layer, "encoder.norm.weight", "param_proj.proj.weights_logits.weight",
                  "param_proj.proj.components.0.df.weight", "param_proj.proj.components.1.loc.weight", "param_proj.proj.components.0.scale.bias"]


def source(side, file, cls):
    return {"repository": "github.com/Qingrenn/TSFM-ScalingLaws", "commit": COMMIT,
            "file": f"tsfm/model/{'encoder' if side is encoder else 'decoder'}/{file}", "class": cls}


def packed_inputs(patch):
    """Rows of 12 patches: two series in the first row, two variates of one in the second, padding at both ends."""
    b, t = 2, 12
    sample = torch.tensor([[1] * 6 + [2] * 5 + [0], [1] * 8 + [0] * 4])
    time = torch.tensor([list(range(6)) + list(range(5)) + [0], list(range(4)) * 2 + [0] * 4])
    variate = torch.tensor([[0] * 12, [0] * 4 + [1] * 4 + [0] * 4])
    predicted = torch.zeros(b, t, dtype=torch.bool)
    predicted[0, 4:6] = predicted[0, 9:11] = predicted[1, 3] = predicted[1, 7] = True
    target = 3 * inputs("target", (b, t, patch), 0) + sample.unsqueeze(-1)
    observed = (inputs("observed", (b, t, patch), 0) > -0.8) & (sample > 0).unsqueeze(-1)
    return {"target": target, "observed_mask": observed, "sample_id": sample, "time_id": time, "variate_id": variate,
            "prediction_mask": predicted}


def write_packed(file, side, name, **config):
    model, data = build(side, **config), packed_inputs(config["patch_size"])
    if side is decoder:  # what comes next, as NextTokenPrediction prepares it
        data["label"] = torch.cat([data["target"][:, 1:], torch.zeros_like(data["target"][:, :1])], 1)
        data["label_observed_mask"] = torch.cat([data["observed_mask"][:, 1:], torch.zeros_like(data["observed_mask"][:, :1])], 1)

    def call(module, x):
        fields = ("target", "observed_mask", "sample_id", "time_id", "variate_id", "prediction_mask")
        distr = module(*(x[field] for field in fields), patch_size=torch.full_like(x["time_id"], config["patch_size"]))
        loss = PackedNLLLoss()(pred=distr, target=x.get("label", x["target"]), prediction_mask=x["prediction_mask"],
                               observed_mask=x.get("label_observed_mask", x["observed_mask"]), sample_id=x["sample_id"],
                               variate_id=x["variate_id"])
        return {**parameters(distr), "mean": distr.mean}, loss

    write_fixture(file, model, name="tsfm_scaling_laws", config={**config, "architectures": [name]}, inputs=data, call=call,
                  reference=source(side, "module.py", "BasicModule"), mids=taps(config), grads=gradients(side))


def write_encoder_forecast(file, channels, context, length, **config):
    model = build(encoder, **config)
    patch = config["patch_size"]
    forecaster = encoder_forecast.TransformerEncoderForecast(length, channels, 0, 0, context, module=model, patch_size=patch)
    forecaster.hparams = SimpleNamespace(prediction_length=length, context_length=context, patch_size=patch, target_dim=channels)

    def call(_, x):
        series = x["series"]
        distr = forecaster._get_distr(patch, series, torch.ones_like(series, dtype=torch.bool), torch.zeros(series.shape[:2], dtype=torch.long))
        order = lambda v: forecaster._format_preds(patch, v.unsqueeze(0), channels)[:, 0]  # as the reference orders its samples
        parts = {k: torch.stack([order(p) for p in v.unbind(-1)], -1) for k, v in parameters(distr).items()}
        context_patches, future_patches = forecaster.context_token_length(patch), forecaster.prediction_token_length(patch)
        target = torch.nn.functional.pad(x["target"], (0, 0, 0, future_patches * patch - length))
        patches = target.reshape(len(series), future_patches, patch, channels).permute(0, 3, 1, 2).flatten(1, 2)
        whole = torch.cat([torch.zeros(len(series), channels * context_patches, patch), patches], 1)
        return {**parts, "forecast": order(distr.mean)}, -order(distr.log_prob(whole)).mean()

    write_fixture(file, model, name="tsfm_scaling_laws", call=call, mids=taps(config), grads=gradients(encoder),
                  config={**config, "architectures": ["TransformerEncoderForecast"], "context_length": context, "prediction_length": length,
                          "input_dim": channels},
                  inputs={"series": 2 * inputs("series", (2, context, channels), 0) + 0.5, "target": inputs("target", (2, length, channels), 0)},
                  reference=source(encoder, "forecast.py", "TransformerEncoderForecast"))


def write_decoder_forecast(file, context, length, **config):
    model = build(decoder, **config)
    patch = config["patch_size"]

    def call(module, x):
        series = x["series"].squeeze(-1)  # [B, L], L a whole number of patches
        b, n, m = len(series), context // patch, -(-length // patch)
        patches, found = series.reshape(b, n, patch), []
        for i in range(m):
            t = n + i
            mask = torch.arange(t).expand(b, t) >= n
            ones = torch.ones(b, t, dtype=torch.long)
            distr = module(patches, torch.ones_like(patches, dtype=torch.bool), ones, torch.arange(t).expand(b, t), 0 * ones, mask, ones)
            found.append({k: v[:, -1] for k, v in parameters(distr).items()} | {"forecast": distr.mean[:, -1]})
            patches = torch.cat([patches, distr.mean[:, -1:].detach()], 1)
        joined = {k: torch.cat([f[k] for f in found], 1)[:, :length].unsqueeze(2) for k in found[0]}
        weight, df, loc, scale = (joined[f"distribution.{part}"] for part in ("weight", "df", "loc", "scale"))
        log = torch.distributions.StudentT(df, loc, scale).log_prob(x["target"].unsqueeze(-1))
        return joined, -torch.logsumexp(weight.log() + log, -1).mean()

    write_fixture(file, model, name="tsfm_scaling_laws", call=call, mids=taps(config), grads=gradients(decoder),
                  config={**config, "architectures": ["TransformerDecoderForecast"], "context_length": context, "prediction_length": length},
                  inputs={"series": 2 * inputs("series", (2, context, 1), 0) + 0.5, "target": inputs("target", (2, length, 1), 0)},
                  reference=source(decoder, "module.py", "BasicModule"),
                  notes="The loop of _generate with the mixture's mean in place of the median of 100 samples, without a gradient like those.")


if __name__ == "__main__":
    small = dict(d_model=32, num_layers=2, num_heads=2, patch_size=8, max_seq_len=16)
    write_packed("tsfm_scaling_laws.encoder_packed.safetensors", encoder, "TransformerEncoderPretrain", **small)
    write_packed("tsfm_scaling_laws.decoder_packed.safetensors", decoder, "TransformerDecoderPretrain", **small)
    write_packed("tsfm_scaling_laws.unscaled_packed.safetensors", encoder, "TransformerEncoderPretrain",
                 d_model=64, num_layers=1, patch_size=4, max_seq_len=4, scaling=False)
    write_encoder_forecast("tsfm_scaling_laws.safetensors", channels=3, context=22, length=13, **small)
    write_decoder_forecast("tsfm_scaling_laws.decoder.safetensors", context=24, length=13, **small)
