"""Fixture of Performer-BiLSTM: the paper has no code, so its parts are composed here from a clone of
github.com/lucidrains/performer-pytorch (SelfAttention) and torch.nn.LSTM.

python tests/reference/performer_bilstm.py path/to/performer-pytorch
Needs local-attention and axial-positional-embedding, which performer-pytorch imports.
"""
import math
import sys
from pathlib import Path

import setuptools  # noqa: F401  (brings distutils, which performer-pytorch imports)
import torch

sys.path.insert(0, sys.argv[1])
from performer_pytorch.performer_pytorch import SelfAttention  # noqa: E402

from fill import inputs  # noqa: E402
from fixture import write_fixture  # noqa: E402

COMMIT = (Path(sys.argv[1]) / "COMMIT.txt").read_text().strip() if (Path(sys.argv[1]) / "COMMIT.txt").exists() else "see the clone"


class Layer(torch.nn.Module):
    def __init__(self, width, heads, hidden, features):
        super().__init__()
        self.self_attn = SelfAttention(width, heads=heads, dim_head=width // heads, nb_features=features, qkv_bias=True)
        fast = self.self_attn.fast_attention
        matrix = fast.projection_matrix
        del fast.projection_matrix  # as a frozen parameter the fill rule reaches it
        fast.projection_matrix = torch.nn.Parameter(matrix, requires_grad=False)
        self.lstm = torch.nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        self.linear = torch.nn.Linear(2 * hidden, width)
        self.norm1, self.norm2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)

    def forward(self, x):
        x = self.norm1(x + self.self_attn(x))
        return self.norm2(x + self.linear(self.lstm(x)[0]))


class Network(torch.nn.Module):
    def __init__(self, seq_len, pred_len, enc_in, c_out, d_model, n_heads, e_layers, d_ff, nb_features):
        super().__init__()
        self.shape = (pred_len, c_out)
        self.embedding = torch.nn.Linear(enc_in, d_model)
        self.layers = torch.nn.ModuleList(Layer(d_model, n_heads, d_ff, nb_features) for _ in range(e_layers))
        self.head = torch.nn.Linear(2 * d_model, pred_len * c_out)
        place = torch.arange(seq_len, dtype=torch.float64)[:, None]
        angle = place / torch.pow(torch.tensor(10000.0, dtype=torch.float64), torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)
        self.positions = torch.stack((angle.sin(), angle.cos()), -1).flatten(-2).float()

    def forward(self, series):
        x = self.embedding(series) + self.positions
        for layer in self.layers:
            x = layer(x)
        return series[:, -1:, -self.shape[1]:] + self.head(torch.cat([x[:, 0], x[:, -1]], -1)).view(len(series), *self.shape)


def call(model, x):
    forecast = model(x["series"])
    return {"forecast": forecast}, torch.nn.functional.mse_loss(forecast, x["target"])


if __name__ == "__main__":
    config = dict(seq_len=16, pred_len=4, enc_in=5, c_out=2, d_model=16, n_heads=2, e_layers=2, d_ff=8,
                  nb_features=int(8 * math.log(8)))
    layers = [f"layers.{i}{part}" for i in range(2) for part in (".self_attn.fast_attention", ".self_attn", ".norm1", ".lstm", ".linear", "")]
    write_fixture("performer_bilstm.safetensors", Network(**config), name="performer_bilstm",
                  config={**config, "architectures": ["PerformerBiLSTM"]}, call=call,
                  inputs={"series": 3 * inputs("series", (2, 16, 5), 0), "target": inputs("target", (2, 4, 2), 0)},
                  reference={"repository": "github.com/lucidrains/performer-pytorch", "commit": COMMIT,
                             "file": "performer_pytorch/performer_pytorch.py", "class": "SelfAttention, torch.nn.LSTM"},
                  mids=["embedding", *layers, "head"],
                  grads=["embedding.weight", "layers.0.self_attn.to_q.weight", "layers.0.self_attn.to_k.bias", "layers.1.self_attn.to_v.weight",
                         "layers.0.lstm.weight_ih_l0", "layers.0.lstm.weight_hh_l0_reverse", "layers.1.lstm.bias_hh_l0", "layers.0.norm1.weight",
                         "layers.1.linear.weight", "head.weight"],
                  notes="No reference implementation of the whole network exists; this one is composed of published parts.")
