"""iTransformer (Liu et al., 2024, arXiv:2310.06625) in PyTorch as its paper's repository writes it down, with the names of its weights:
linear layers, attention by matrix products and softmax, 1 x 1 convolutions, post-norm, windows normalised and the forecast taken back."""
import json
import pathlib

import safetensors.torch
import torch
from torch import nn

CARD = pathlib.Path(__file__).resolve().parents[3] / "models/time_series/itransformer.json"


def etth1_96():
    return {"model_type": "itransformer", "dropout": 0.1, **json.loads(CARD.read_text())["variants"]["etth1_96"]}


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        width = c["d_model"]
        self.heads = c["n_heads"]
        self.query_projection, self.key_projection, self.value_projection, self.out_projection = (nn.Linear(width, width) for _ in range(4))
        self.dropout = nn.Dropout(c["dropout"])

    def forward(self, x):  # [B, N, D]
        q, k, v = (layer(x).unflatten(2, (self.heads, -1)) for layer in (self.query_projection, self.key_projection, self.value_projection))
        weights = self.dropout(torch.softmax(torch.einsum("blhe,bshe->bhls", q, k) * q.shape[-1] ** -0.5, -1))
        return self.out_projection(torch.einsum("bhls,bshd->blhd", weights, v).flatten(2))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.attention = Attention(c)
        self.conv1, self.conv2 = nn.Conv1d(c["d_model"], c["d_ff"], 1), nn.Conv1d(c["d_ff"], c["d_model"], 1)
        self.norm1, self.norm2 = nn.LayerNorm(c["d_model"]), nn.LayerNorm(c["d_model"])
        self.dropout = nn.Dropout(c["dropout"])

    def forward(self, x):
        x = self.norm1(x + self.dropout(self.attention(x)))
        inner = self.dropout(nn.functional.gelu(self.conv1(x.transpose(1, 2))))
        return self.norm2(x + self.dropout(self.conv2(inner).transpose(1, 2)))


class ITransformer(nn.Module):
    def __init__(self, config):
        super().__init__()
        c = self.config = config
        self.enc_embedding = nn.ModuleDict({"value_embedding": nn.Linear(c["seq_len"], c["d_model"])})
        self.encoder = nn.ModuleDict({"attn_layers": nn.ModuleList(Layer(c) for _ in range(c["e_layers"])), "norm": nn.LayerNorm(c["d_model"])})
        self.projector = nn.Linear(c["d_model"], c["pred_len"])
        self.dropout = nn.Dropout(c["dropout"])

    @classmethod
    def from_pretrained(cls, folder):
        model = cls(json.loads((folder / "config.json").read_text()))
        model.load_state_dict(safetensors.torch.load_file(folder / "model.safetensors"))
        return model

    def save_pretrained(self, folder):
        (folder / "config.json").write_text(json.dumps(self.config, indent=1))
        safetensors.torch.save_file(self.state_dict(), folder / "model.safetensors")

    def forward(self, series):  # [B, L, C] -> [B, H, C]
        mean = series.mean(1, keepdim=True).detach()
        series = series - mean
        deviation = (series.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        x = self.dropout(self.enc_embedding.value_embedding((series / deviation).transpose(1, 2)))
        for layer in self.encoder.attn_layers:
            x = layer(x)
        return self.projector(self.encoder.norm(x)).transpose(1, 2) * deviation + mean
