"""Fixtures of TimeXer, from a clone of github.com/thuml/TimeXer at commit 7601190.

python tests/reference/timexer.py path/to/TimeXer
"""
import torch

from fixture import write_fixture
from time_series import commit, options, reference, windows

FOLDER = reference()
from models.TimeXer import Model  # noqa: E402


def call(model, x):
    forecast = model(x["series"].clone(), x.get("series_time"), None, None)
    return {"forecast": forecast}, torch.nn.functional.mse_loss(forecast, x["target"])


def write(file, time_features=4, **config):
    config = {"seq_len": 24, "pred_len": 12, "enc_in": 3, "features": "M", "patch_len": 8, "d_model": 32, "d_ff": 48, "e_layers": 2, "n_heads": 4, **config}
    layers = [f"encoder.layers.{i}" for i in range(config["e_layers"])]
    write_fixture(file, Model(options(config)), name="timexer", config={**config, "architectures": ["TimeXer"], "model_type": "timexer"},
                  call=call, inputs=windows(config, time_features),
                  reference={"repository": "github.com/thuml/TimeXer", "commit": commit(FOLDER), "file": "models/TimeXer.py", "class": "TimeXer"},
                  mids=["en_embedding", "ex_embedding",
                        *(layer + part for layer in layers for part in (".self_attention", ".norm1", ".cross_attention", ".norm2", ".conv1", "")), "encoder", "head"],
                  grads=["en_embedding.glb_token", "en_embedding.value_embedding.weight", "ex_embedding.value_embedding.weight",
                         layers[0] + ".self_attention.query_projection.weight", layers[0] + ".cross_attention.key_projection.weight",
                         layers[0] + ".cross_attention.out_projection.bias", layers[0] + ".conv1.weight", layers[-1] + ".conv2.weight",
                         layers[-1] + ".norm2.weight", "encoder.norm.weight", "head.linear.weight"])


if __name__ == "__main__":
    write("timexer.safetensors")
    write("timexer.no_calendar.safetensors", time_features=0, e_layers=1, activation="relu", use_norm=0)
    write("timexer.exogenous.safetensors", features="MS", seq_len=26, enc_in=4, pred_len=6)  # two steps do not fill a patch
    write("timexer.single.safetensors", features="S", enc_in=1, e_layers=1, pred_len=30)
