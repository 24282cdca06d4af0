"""Fixtures of iTransformer, from a clone of github.com/thuml/iTransformer at commit c2426e6.

python tests/reference/itransformer.py path/to/iTransformer
"""
import torch

from fixture import write_fixture
from time_series import commit, options, reference, windows

FOLDER = reference()
from model.iTransformer import Model  # noqa: E402


def call(model, x):
    forecast = model(x["series"].clone(), x.get("series_time"), None, None)
    if x["target"].shape[-1] == 1:  # features MS: the training script keeps the last column
        forecast = forecast[:, :, -1:]
    return {"forecast": forecast}, torch.nn.functional.mse_loss(forecast, x["target"])


def write(file, time_features=4, **config):
    config = {"seq_len": 24, "pred_len": 12, "enc_in": 5, "d_model": 32, "d_ff": 48, "e_layers": 2, "n_heads": 4, **config}
    layers = [f"encoder.attn_layers.{i}" for i in range(config["e_layers"])]
    write_fixture(file, Model(options(config)), name="itransformer", config={**config, "architectures": ["iTransformer"], "model_type": "itransformer"},
                  call=call, inputs=windows(config, time_features),
                  reference={"repository": "github.com/thuml/iTransformer", "commit": commit(FOLDER), "file": "model/iTransformer.py", "class": "iTransformer"},
                  mids=["enc_embedding", *(layer + part for layer in layers for part in (".attention.query_projection", ".attention", ".norm1", ".conv1", ".conv2", "")),
                        "encoder", "projector"],
                  grads=["enc_embedding.value_embedding.weight", layers[0] + ".attention.key_projection.weight", layers[0] + ".attention.value_projection.bias",
                         layers[0] + ".conv1.weight", layers[-1] + ".conv2.bias", layers[-1] + ".norm1.weight", "encoder.norm.bias", "projector.weight"])


if __name__ == "__main__":
    write("itransformer.safetensors")
    write("itransformer.no_calendar.safetensors", time_features=0, e_layers=1, activation="relu", use_norm=0, enc_in=3)
    write("itransformer.last_only.safetensors", time_features=5, e_layers=3, features="MS", enc_in=4, pred_len=30)
