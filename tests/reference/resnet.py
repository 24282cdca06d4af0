"""Fixtures of ResNet, from transformers.  python tests/reference/resnet.py"""
import torch
import transformers
from transformers import ResNetConfig, ResNetForImageClassification, ResNetModel

from fill import inputs
from fixture import write_fixture


def write(file, cls, call, *, prefix, image, grads, mids=(), extra_inputs=None, **config):
    model = cls(ResNetConfig(**config))
    layers = [f"{prefix}encoder.stages.{s}.layers.{i}" for s, depth in enumerate(config["depths"]) for i in range(depth)]
    parts = [f"{prefix}encoder.stages.1.layers.0{part}" for part in (".shortcut", ".layer.0.convolution", ".layer.0.normalization", ".layer.0", ".layer.1")
             if part != ".layer.1" or config.get("layer_type") != "basic"]  # the last one's activation follows the sum here
    write_fixture(file, model, name="resnet", config={**config, "architectures": [cls.__name__], "model_type": "resnet"}, call=call,
                  inputs={"image": inputs("image", image, 0), **(extra_inputs or {})},
                  reference={"package": "transformers", "version": transformers.__version__, "class": cls.__name__},
                  mids=[f"{prefix}embedder.embedder", f"{prefix}embedder", *parts, *layers, f"{prefix}encoder", *mids],
                  grads=[prefix + key for key in ("embedder.embedder.convolution.weight", "embedder.embedder.normalization.weight",
                         "encoder.stages.0.layers.0.layer.0.convolution.weight", "encoder.stages.1.layers.0.shortcut.normalization.bias",
                         "encoder.stages.1.layers.1.layer.1.convolution.weight")] + list(grads))


def classifier(model, x):
    out = model(pixel_values=x["image"], labels=x["labels"])
    return {"logits": out.logits}, out.loss


def encoder(model, x):
    out = model(pixel_values=x["image"])
    hidden, embedding = out.last_hidden_state.flatten(2).transpose(1, 2), out.pooler_output.flatten(1)
    return {"hidden": hidden, "embedding": embedding}, hidden.square().mean() + embedding.square().mean()


if __name__ == "__main__":
    labels = {"labels": torch.tensor([4, 1])}
    bottleneck = dict(embedding_size=8, hidden_sizes=[16, 32], depths=[1, 2], num_labels=5)
    write("resnet.safetensors", ResNetForImageClassification, classifier, prefix="resnet.", image=(2, 3, 32, 32), extra_inputs=labels,
          grads=["classifier.1.weight"], mids=["classifier.1"], **bottleneck)
    write("resnet.first_stage.safetensors", ResNetForImageClassification, classifier, prefix="resnet.", image=(2, 1, 30, 45), extra_inputs=labels,
          grads=["classifier.1.bias"], num_channels=1, downsample_in_first_stage=True, downsample_in_bottleneck=True, **bottleneck)
    write("resnet.basic.safetensors", ResNetModel, encoder, prefix="", image=(2, 3, 33, 32), grads=[], layer_type="basic", embedding_size=8,
          hidden_sizes=[8, 16], depths=[2, 2], hidden_act="gelu")
