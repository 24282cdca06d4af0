"""Fixtures of Compact Transformers, from a clone of github.com/SHI-Labs/Compact-Transformers at commit cd11f09.

python tests/reference/cct.py path/to/Compact-Transformers
"""
import inspect
import subprocess
import sys

import torch

sys.path.insert(0, sys.argv[1])
from src.cct import CCT  # noqa: E402
from src.cvt import CVT  # noqa: E402
from src.vit import ViTLite  # noqa: E402

from fill import inputs  # noqa: E402
from fixture import write_fixture  # noqa: E402

COMMIT = subprocess.check_output(["git", "-C", sys.argv[1], "rev-parse", "HEAD"], text=True).strip()


def call(model, x):
    logits = model(x["image"])
    return {"logits": logits}, torch.nn.functional.cross_entropy(logits, x["labels"])


def write(file, cls, **config):
    channels, side = config.get("n_input_channels", 3), config["img_size"]
    model = cls(**config)
    blocks = [f"classifier.blocks.{i}{part}" for i in range(config["num_layers"])
              for part in (".pre_norm", ".self_attn", ".norm1", ".linear2", "")]
    first = "classifier.class_emb" if cls is ViTLite else "classifier.attention_pool.weight"
    position = ["classifier.positional_emb"] if config.get("positional_embedding", "learnable") == "learnable" else []
    write_fixture(file, model, name="cct", config={**config, "architectures": [cls.__name__], "model_type": "cct"}, call=call,
                  inputs={"image": inputs("image", (2, channels, side, side), 0), "labels": torch.tensor([3, 1])},
                  reference={"repository": "github.com/SHI-Labs/Compact-Transformers", "commit": COMMIT,
                             "file": inspect.getmodule(cls).__name__, "class": cls.__name__},
                  mids=["tokenizer", *blocks, "classifier.norm", "classifier"],
                  grads=["tokenizer.conv_layers.0.0.weight", "classifier.blocks.0.self_attn.qkv.weight",
                         "classifier.blocks.1.linear1.bias", "classifier.blocks.1.norm1.weight", "classifier.fc.weight", first, *position])


if __name__ == "__main__":
    small = dict(embedding_dim=32, num_layers=2, num_heads=2, num_classes=5)
    write("cct.safetensors", CCT, img_size=16, n_conv_layers=1, kernel_size=3, stride=1, padding=1, mlp_ratio=1, **small)
    write("cct.two_convolutions_sine.safetensors", CCT, img_size=28, n_input_channels=1, n_conv_layers=2, kernel_size=7, stride=2,
          padding=3, mlp_ratio=2, positional_embedding="sine", **small)
    write("cct.no_positions.safetensors", CCT, img_size=16, n_conv_layers=1, kernel_size=3, stride=1, padding=1, mlp_ratio=1.5,
          positional_embedding="none", **small)
    write("cct.cvt.safetensors", CVT, img_size=16, kernel_size=4, mlp_ratio=2, **small)
    write("cct.vit_lite.safetensors", ViTLite, img_size=16, kernel_size=4, mlp_ratio=1, **small)
