"""iTransformer (Liu et al., 2024, arXiv:2310.06625) in PyTorch as its paper's repository writes it down, with the names of its weights:
linear layers, attention by matrix products and softmax, 1 x 1 convolutions, post-norm, windows normalised and the forecast taken back."""
import torch
from torch import nn

ETTH1_96 = {"model_type": "itransformer", "seq_len": 96, "pred_len": 96, "enc_in": 7, "d_model": 256, "d_ff": 256, "e_layers": 2, "n_heads": 8, "dropout": 0.1}


def holder(**parts):
    """A module that only gives its parts a common prefix."""
    module = nn.Module()
    for name, part in parts.items():
        module.add_module(name, part)
    return module


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
        c = self.config = dict(config)
        self.enc_embedding = holder(value_embedding=nn.Linear(c["seq_len"], c["d_model"]))
        self.encoder = holder(attn_layers=nn.ModuleList(Layer(c) for _ in range(c["e_layers"])), norm=nn.LayerNorm(c["d_model"]))
        self.projector = nn.Linear(c["d_model"], c["pred_len"])
        self.dropout = nn.Dropout(c["dropout"])

    def forward(self, series):  # [B, L, C] -> [B, H, C]
        mean = series.mean(1, keepdim=True).detach()
        series = series - mean
        deviation = (series.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        x = self.dropout(self.enc_embedding.value_embedding((series / deviation).transpose(1, 2)))
        for layer in self.encoder.attn_layers:
            x = layer(x)
        return self.projector(self.encoder.norm(x)).transpose(1, 2) * deviation + mean
