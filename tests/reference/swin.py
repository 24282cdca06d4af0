"""Fixtures of Swin, from transformers.  python tests/reference/swin.py

transformers 5 renames the published checkpoints' keys while loading; the fixture stores the published names.
"""
import re

import torch
import transformers
from transformers import SwinConfig, SwinForImageClassification, SwinModel

from fill import inputs
from fixture import write_fixture

RULES = [(r"attention\.q_proj", "attention.self.query"), (r"attention\.k_proj", "attention.self.key"), (r"attention\.v_proj", "attention.self.value"),
         (r"attention\.relative_position_bias\.", "attention.self."), (r"attention\.o_proj", "attention.output.dense"),
         (r"mlp\.fc1", "intermediate.dense"), (r"mlp\.fc2", "output.dense")]


def published(key):
    for pattern, replacement in RULES:
        key = re.sub(pattern, replacement, key)
    return key


def write(file, cls, call, *, prefix, image, grads, mids=(), extra_inputs=None, rename=published, parts=(".layernorm_before", ".layernorm_after", ".mlp"), **config):
    model = cls(SwinConfig(**config))
    blocks = [f"{prefix}encoder.layers.{s}.blocks.{i}{part}" for s, depth in enumerate(config["depths"]) for i in range(depth)
              for part in (*parts, "")]
    merging = [f"{prefix}encoder.layers.{s}.downsample" for s in range(len(config["depths"]) - 1)]
    write_fixture(file, model, name="swin", config={**config, "architectures": [cls.__name__], "model_type": "swin"}, rename=rename, call=call,
                  inputs={"image": inputs("image", image, 0), **(extra_inputs or {})},
                  reference={"package": "transformers", "version": transformers.__version__, "class": cls.__name__},
                  mids=[f"{prefix}embeddings", *blocks, *merging, f"{prefix}layernorm", *mids],
                  grads=[rename(prefix + key) for key in ("embeddings.patch_embeddings.projection.weight", "embeddings.norm.bias",
                         "encoder.layers.0.blocks.0.attention.q_proj.weight", "encoder.layers.0.blocks.1.attention.v_proj.weight",
                         "encoder.layers.0.blocks.0.attention.relative_position_bias.relative_position_bias_table",
                         "encoder.layers.0.blocks.1.attention.relative_position_bias.relative_position_bias_table",
                         "encoder.layers.0.downsample.reduction.weight", "encoder.layers.1.blocks.0.mlp.fc1.weight", "layernorm.weight")] + list(grads))


def classifier(model, x):
    out = model(pixel_values=x["image"], labels=x["labels"])
    return {"logits": out.logits}, out.loss


def encoder(model, x):
    out = model(pixel_values=x["image"])
    hidden, embedding = out.last_hidden_state, out.pooler_output
    return {"hidden": hidden, "embedding": embedding}, hidden.square().mean() + embedding.square().mean()


if __name__ == "__main__":
    labels = {"labels": torch.tensor([4, 1])}
    small = dict(embed_dim=16, patch_size=4, mlp_ratio=2.0)
    two = dict(depths=[2, 2], num_heads=[2, 4], **small)
    # The second stage is one window wide: nothing to shift.
    write("swin.safetensors", SwinForImageClassification, classifier, prefix="swin.", image=(2, 3, 32, 32), extra_inputs=labels, num_labels=5,
          image_size=32, window_size=4, grads=["classifier.weight"], mids=["classifier"], **two)
    # 42 x 54 pixels: patches, windows and merging all need padding, and shifted windows lie over it.
    write("swin.padded.safetensors", SwinForImageClassification, classifier, prefix="swin.", image=(2, 3, 42, 54), extra_inputs=labels, num_labels=5,
          image_size=44, window_size=3, parts=(), depths=[2, 3, 2], num_heads=[2, 2, 4], grads=["swin.encoder.layers.1.downsample.norm.weight"], **small)
    write("swin.absolute.safetensors", SwinModel, encoder, prefix="", image=(2, 1, 24, 24), image_size=24, window_size=2, num_channels=1,
          use_absolute_embeddings=True, qkv_bias=False, hidden_act="gelu_new", grads=["embeddings.position_embeddings"], **two)
    write("swin.transformers5_names.safetensors", SwinForImageClassification, classifier, prefix="swin.", image=(2, 3, 32, 32), extra_inputs=labels,
          num_labels=5, image_size=32, window_size=4, grads=[], rename=lambda key: key, parts=(".mlp",), **two)
