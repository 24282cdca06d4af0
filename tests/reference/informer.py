"""Fixtures of Informer, from a clone of github.com/zhouhaoyi/Informer2020 at commit 29f2a73.

python tests/reference/informer.py path/to/Informer2020
"""
import contextlib

import torch

from fill import inputs, tokens
from fixture import write_fixture
from time_series import commit, reference

FOLDER = reference()
from models.model import Informer, InformerStack  # noqa: E402


@contextlib.contextmanager
def given_samples(samples):
    """torch.randint hands out these indices, in the order in which the layers ask."""
    real, waiting = torch.randint, list(samples)
    torch.randint = lambda *_, **__: waiting.pop(0)
    try:
        yield
    finally:
        torch.randint = real
    assert not waiting, f"{len(waiting)} samples were not used"


def call(model, x):
    from_step = x["series"].shape[1] - model.label_len
    blank = torch.zeros(len(x["series"]), model.pred_len, x["series"].shape[2])
    start = torch.cat([x["series"][:, from_step:], blank], 1)
    start_time = torch.cat([x["series_time"][:, from_step:], x["future_time"]], 1)
    with given_samples(v for k, v in x.items() if k.startswith("sample.")):
        forecast = model(x["series"], x["series_time"], start, start_time)
    return {"forecast": forecast}, torch.nn.functional.mse_loss(forecast, x["target"])


def sparse_count(factor, length):
    return min(factor * int(torch.tensor(float(length)).log().ceil()), length)


def samples(config, stacked):
    """Keys sampled by each layer with ProbSparse attention, in order of execution: {name: [queries, keys]}."""
    if config["attn"] == "full":
        return {}
    lengths = {}
    depths = config["s_layers"] if stacked else [config["e_layers"]]
    for e, depth in enumerate(depths):
        length = config["seq_len"] >> e if stacked else config["seq_len"]
        for i in range(depth):
            lengths[f"encoder.{e}.{i}" if stacked else f"encoder.{i}"] = length
            length = (length + 1) // 2 if config["distil"] and i + 1 < depth else length
    lengths.update({f"decoder.{i}": config["label_len"] + config["pred_len"] for i in range(config["d_layers"])})
    return {f"sample.{name}": tokens(f"sample.{name}", (n, sparse_count(config["factor"], n)), 0, 0, n) for name, n in lengths.items()}


def calendar(name, steps, config, columns):
    if config["embed"] == "timeF":
        return inputs(name, (2, steps, columns), 0, -0.5, 0.5)
    ranges = [(1, 13), (1, 32), (0, 7), (0, 24), (0, 4)][:columns]  # month, day, weekday, hour, quarter of the hour
    return torch.stack([tokens(f"{name}.{i}", (2, steps), 0, low, high) for i, (low, high) in enumerate(ranges)], -1).float()


def write(file, cls=Informer, **config):
    config = {"seq_len": 24, "label_len": 12, "pred_len": 10, "enc_in": 3, "dec_in": 3, "c_out": 3, "factor": 2, "d_model": 32, "n_heads": 4, "e_layers": 2,
              "d_layers": 1, "d_ff": 48, "attn": "prob", "embed": "timeF", "freq": "h", "activation": "gelu", "distil": True, "mix": True, **config}
    stacked = cls is InformerStack
    built = {k: v for k, v in config.items() if k not in ("s_layers", "pred_len")}
    if stacked:
        built["e_layers"] = config["s_layers"]
        config.pop("e_layers")
    model = cls(**built, out_len=config["pred_len"], dropout=0.05)
    model.label_len = config["label_len"]
    columns = {"h": 4, "t": 5, "d": 3}[config["freq"]]
    given = {"series": inputs("series", (2, config["seq_len"], config["enc_in"]), 0), "series_time": calendar("series_time", config["seq_len"], config, columns),
             "future_time": calendar("future_time", config["pred_len"], config, columns),
             "target": inputs("target", (2, config["pred_len"], config["c_out"]), 0), **samples(config, stacked)}
    first = "encoder.encoders.0" if stacked else "encoder"
    time_key = {"timeF": "embed.weight", "learned": "hour_embed.weight", "fixed": None}[config["embed"]]
    depth = config["s_layers"][0] if stacked else config["e_layers"]
    distils = [f"{first}.conv_layers.0"] if config["distil"] and depth > 1 else []
    write_fixture(file, model, name="informer", config={**config, "architectures": [cls.__name__]}, call=call, inputs=given,
                  reference={"repository": "github.com/zhouhaoyi/Informer2020", "commit": commit(FOLDER), "file": "models/model.py", "class": cls.__name__},
                  mids=["enc_embedding.value_embedding", "enc_embedding.temporal_embedding", "enc_embedding", f"{first}.attn_layers.0.attention", f"{first}.attn_layers.0",
                        *distils, "encoder", "dec_embedding", "decoder.layers.0.self_attention", "decoder.layers.0.norm1", "decoder.layers.0.cross_attention",
                        "decoder.layers.0", "decoder"],
                  grads=["enc_embedding.value_embedding.tokenConv.weight", "dec_embedding.value_embedding.tokenConv.bias",
                         *([f"dec_embedding.temporal_embedding.{time_key}"] if time_key else []),
                         f"{first}.attn_layers.0.attention.query_projection.weight", f"{first}.attn_layers.0.attention.value_projection.weight",
                         *(f"{layer}.downConv.weight" for layer in distils), *(f"{layer}.norm.weight" for layer in distils),
                         "decoder.layers.0.self_attention.key_projection.weight", "decoder.layers.0.cross_attention.out_projection.weight",
                         "decoder.layers.0.conv1.weight", "decoder.norm.weight", "projection.weight"])


if __name__ == "__main__":
    write("informer.safetensors", e_layers=3, d_layers=2)
    write("informer.full_attention.safetensors", attn="full", mix=False, distil=False, activation="relu", c_out=1)
    write("informer.learned_calendar.safetensors", embed="learned", freq="t", e_layers=1)
    write("informer.fixed_calendar.safetensors", embed="fixed", label_len=0, pred_len=30)
    write("informer.daily.safetensors", freq="d", attn="full", seq_len=15)  # an odd length to distil
    write("informer.stack.safetensors", cls=InformerStack, s_layers=[3, 1], seq_len=32)
