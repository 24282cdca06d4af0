"""Fixtures of ViT, from transformers.  python tests/reference/vit.py

transformers 5 renames the published checkpoints' keys while loading; the fixture stores the published names.
"""
import re

import torch
import transformers
from transformers import ViTConfig, ViTForImageClassification, ViTModel

from fill import inputs
from fixture import write_fixture

SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, image_size=16, patch_size=4,
             num_channels=3)
RULES = [(r"^(vit\.)?layers\.", r"\1encoder.layer."), (r"attention\.q_proj", "attention.attention.query"),
         (r"attention\.k_proj", "attention.attention.key"), (r"attention\.v_proj", "attention.attention.value"),
         (r"attention\.o_proj", "attention.output.dense"), (r"mlp\.fc1", "intermediate.dense"), (r"mlp\.fc2", "output.dense")]


def published(key):
    for pattern, replacement in RULES:
        key = re.sub(pattern, replacement, key)
    return key


def write(file, cls, call, *, prefix, extra_inputs, grads, mids, rename=published, **config):
    model = cls(ViTConfig(**SIZES, **config))
    described = {**SIZES, **config, "architectures": [cls.__name__], "model_type": "vit"}
    layers = [f"{prefix}layers.{i}{part}" for i in range(2) for part in (".layernorm_before", ".attention", ".mlp", "")]
    write_fixture(file, model, name="vit", config=described, rename=rename, call=call,
                  inputs={"image": inputs("image", (2, 3, 16, 16), 0), **extra_inputs},
                  reference={"package": "transformers", "version": transformers.__version__, "class": cls.__name__},
                  mids=[f"{prefix}embeddings", *layers, f"{prefix}layernorm", *mids],
                  grads=[rename(prefix + key) for key in ("embeddings.cls_token", "embeddings.position_embeddings",
                         "embeddings.patch_embeddings.projection.weight", "layers.0.attention.q_proj.weight",
                         "layers.1.attention.o_proj.bias", "layers.1.mlp.fc1.weight", "layernorm.weight")] + grads)


def classifier(model, x):
    out = model(pixel_values=x["image"], labels=x["labels"])
    return {"logits": out.logits}, out.loss


def encoder(model, x):
    out = model(pixel_values=x["image"])
    return ({"hidden": out.last_hidden_state, "pooled": out.pooler_output},
            out.last_hidden_state.square().mean() + out.pooler_output.square().mean())


if __name__ == "__main__":
    labels = {"labels": torch.tensor([4, 1])}
    write("vit.safetensors", ViTForImageClassification, classifier, prefix="vit.", extra_inputs=labels, num_labels=5,
          grads=["classifier.weight"], mids=["classifier"])
    write("vit.encoder.safetensors", ViTModel, encoder, prefix="", extra_inputs={}, qkv_bias=False,
          grads=["pooler.dense.weight"], mids=["pooler"])
    write("vit.transformers5_names.safetensors", ViTForImageClassification, classifier, prefix="vit.", extra_inputs=labels,
          num_labels=5, grads=[], mids=[], rename=lambda key: key)
