"""Fixtures of MPNet and its heads, from transformers.  python tests/reference/mpnet.py"""
import torch
import transformers
from transformers import (MPNetConfig, MPNetForMaskedLM, MPNetForQuestionAnswering, MPNetForSequenceClassification, MPNetForTokenClassification,
                          MPNetModel)

from fill import tokens
from fixture import write_fixture

SIZES = dict(vocab_size=120, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
             max_position_embeddings=48, layer_norm_eps=1e-5, pad_token_id=1)
LENGTH = 40  # far enough apart for the buckets that several distances share


def inputs(batch=3, length=LENGTH):
    mask = torch.ones(batch, length, dtype=torch.bool)
    mask[1, 27:] = False
    mask[2, 3:] = False
    ids = tokens("tokens", (batch, length), 0, 2, SIZES["vocab_size"])
    ids[mask.logical_not()] = 1
    ids[0, 4] = 1  # positions do not count it, although attention reads it
    return {"tokens": ids, "mask": mask}


def mids(prefix):
    layers = [f"{prefix}encoder.layer.{i}{part}" for i in range(2) for part in (".attention.attn", ".attention", ".intermediate", ".output", "")]
    return [f"{prefix}embeddings", *layers, f"{prefix}encoder"]


def grads(prefix):
    return [f"{prefix}embeddings.word_embeddings.weight", f"{prefix}embeddings.position_embeddings.weight",
            f"{prefix}encoder.relative_attention_bias.weight", f"{prefix}encoder.layer.0.attention.attn.q.weight",
            f"{prefix}encoder.layer.1.attention.attn.o.weight", f"{prefix}encoder.layer.0.attention.LayerNorm.weight",
            f"{prefix}encoder.layer.1.output.LayerNorm.bias"]


def write(file, cls, call, *, prefix, more=None, heads=(), head_grads=(), **config):
    settings = MPNetConfig(**SIZES, **config)
    described = {**SIZES, "hidden_act": settings.hidden_act, "architectures": [cls.__name__], "model_type": "mpnet"}
    if "id2label" in config:
        described["id2label"] = {str(k): v for k, v in config["id2label"].items()}
    write_fixture(file, cls(settings), name="mpnet", config=described, inputs={**inputs(), **(more or {})}, call=call,
                  reference={"package": "transformers", "version": transformers.__version__, "class": cls.__name__},
                  mids=[*mids(prefix), *heads], grads=[*grads(prefix), *head_grads])


def encoder(model, x):
    out = model(input_ids=x["tokens"], attention_mask=x["mask"].long())
    return ({"hidden": out.last_hidden_state, "pooled": out.pooler_output},
            out.last_hidden_state.square().mean() + out.pooler_output.square().mean())


def with_labels(model, x):
    out = model(input_ids=x["tokens"], attention_mask=x["mask"].long(), labels=x["labels"])
    return {"logits": out.logits}, out.loss


def spans(model, x):
    out = model(input_ids=x["tokens"], attention_mask=x["mask"].long())
    return {"start_logits": out.start_logits, "end_logits": out.end_logits}, out.start_logits.square().mean() + out.end_logits.square().mean()


if __name__ == "__main__":
    write("mpnet.safetensors", MPNetModel, encoder, prefix="", heads=["pooler"], head_grads=["pooler.dense.weight"])
    labels = tokens("labels", (3, LENGTH), 0, 0, SIZES["vocab_size"])
    labels[:, ::2] = -100
    write("mpnet.masked_lm.safetensors", MPNetForMaskedLM, with_labels, prefix="mpnet.", hidden_act="relu", more={"labels": labels},
          heads=["lm_head"], head_grads=["lm_head.bias", "lm_head.dense.weight"])
    classes = {0: "no", 1: "maybe", 2: "yes"}
    names = dict(id2label=classes, label2id={v: k for k, v in classes.items()})
    write("mpnet.sequence_classification.safetensors", MPNetForSequenceClassification, with_labels, prefix="mpnet.", **names,
          more={"labels": torch.tensor([0, 2, 1])}, heads=["classifier"], head_grads=["classifier.dense.weight", "classifier.out_proj.weight"])
    tags = tokens("tags", (3, LENGTH), 0, 0, 3)
    tags[inputs()["mask"].logical_not()] = -100
    write("mpnet.token_classification.safetensors", MPNetForTokenClassification, with_labels, prefix="mpnet.", **names,
          more={"labels": tags}, heads=["classifier"], head_grads=["classifier.bias"])
    write("mpnet.question_answering.safetensors", MPNetForQuestionAnswering, spans, prefix="mpnet.", heads=["qa_outputs"],
          head_grads=["qa_outputs.weight"])
