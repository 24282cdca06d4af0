"""Fixtures of AquaCast, from a clone of github.com/esl-epfl/AquaCast at commit 0d5ada9.

python tests/reference/aquacast.py path/to/AquaCast
"""
import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import torch

from fill import inputs
from fixture import write_fixture

COMMIT = "0d5ada9dc7e82f0bc6ee6bc00b0a1d9413d0b1fc"
spec = importlib.util.spec_from_file_location("aquacast_reference", Path(sys.argv[1]) / "models" / "AquaCast.py")
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)


def call(model, x):
    forecast = model(x["series"], x.get("future_exogenous"))
    return {"forecast": forecast}, torch.nn.functional.mse_loss(forecast, x["target"])


def write(file, **config):
    data = {"series": inputs("series", (2, config["seq_len"], config["enc_in"]), 0),
            "target": inputs("target", (2, config["pred_len"], config["enc_in"] - config["exo"]), 0)}
    if config["exo_future"]:
        data["future_exogenous"] = inputs("future_exogenous", (2, config["pred_len"], 1), 0)
    layers = [f"transformer_encoder.layers.{i}" for i in range(config["e_layers"])]
    parts = [f"{layer}.{part}" for layer in layers for part in ("self_attn", "norm1", "linear1", "linear2")]
    exo = ["exo_embedder"] if config["exo_future"] else []
    write_fixture(file, reference.Model(SimpleNamespace(**config)), name="aquacast", inputs=data, call=call,
                  config={**config, "architectures": ["AquaCast"], "model_type": "aquacast"},
                  reference={"repository": "github.com/esl-epfl/AquaCast", "commit": COMMIT, "file": "models/AquaCast.py", "class": "AquaCast"},
                  mids=["embedding1", "embedding2", *exo, *parts, *layers, "transformer_encoder", "decoder"],
                  grads=["embedding1.weight", "embedding2.bias", *[f"{e}.weight" for e in exo], "decoder.weight",
                         *[f"{layers[0]}.{key}" for key in ("self_attn.in_proj_weight", "self_attn.in_proj_bias", "self_attn.out_proj.weight",
                                                            "norm1.weight", "linear2.weight")], f"{layers[-1]}.norm2.bias"])


if __name__ == "__main__":
    small = dict(seq_len=24, enc_in=3, e_layers=2, n_heads=2, d_model=16, d_ff=32, dropout=0.1)
    write("aquacast.safetensors", pred_len=8, kernel_size=3, stride=2, exo=1, exo_future=1, **small)
    write("aquacast.history_only.safetensors", pred_len=8, kernel_size=3, stride=2, exo=1, exo_future=0, **small)
    write("aquacast.plain.safetensors", pred_len=5, kernel_size=4, stride=1, exo=0, exo_future=0, **small)
