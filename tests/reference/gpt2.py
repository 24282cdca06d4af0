"""Fixtures of GPT-2 and its heads, from transformers.  python tests/reference/gpt2.py"""
import torch
import transformers
from transformers import (GPT2Config, GPT2ForQuestionAnswering, GPT2ForSequenceClassification, GPT2ForTokenClassification, GPT2LMHeadModel,
                          GPT2Model)

from fill import tokens
from fixture import write_fixture

SIZES = dict(vocab_size=120, n_positions=24, n_embd=32, n_layer=2, n_head=4)


def inputs(batch=3, length=10):
    mask = torch.ones(batch, length, dtype=torch.bool)
    mask[1, 7:] = False
    mask[2, 3:] = False
    return {"tokens": tokens("tokens", (batch, length), 0, 0, SIZES["vocab_size"]), "mask": mask}


def mids(prefix):
    return [f"{prefix}h.{i}{part}" for i in range(2) for part in (".ln_1", ".attn.c_attn", ".attn", ".mlp.c_fc", ".mlp", "")] + [f"{prefix}ln_f"]


def grads(prefix):
    return [f"{prefix}wte.weight", f"{prefix}wpe.weight", f"{prefix}h.0.attn.c_attn.weight", f"{prefix}h.1.attn.c_attn.bias",
            f"{prefix}h.1.attn.c_proj.weight", f"{prefix}h.0.mlp.c_fc.weight", f"{prefix}h.1.mlp.c_proj.bias", f"{prefix}h.0.ln_2.weight"]


def write(file, cls, call, *, prefix, more=None, heads=(), head_grads=(), **config):
    described = {**SIZES, **{k: v for k, v in config.items() if k not in ("id2label", "label2id")}, "architectures": [cls.__name__], "model_type": "gpt2"}
    if "id2label" in config:
        described["id2label"] = {str(k): v for k, v in config["id2label"].items()}
    write_fixture(file, cls(GPT2Config(**SIZES, **config)), name="gpt2", config=described, inputs={**inputs(), **(more or {})}, call=call,
                  reference={"package": "transformers", "version": transformers.__version__, "class": cls.__name__},
                  mids=[*mids(prefix), *heads], grads=[*grads(prefix), *head_grads])


def hidden(model, x):
    out = model(input_ids=x["tokens"], attention_mask=x["mask"].long()).last_hidden_state
    return {"hidden": out}, out.square().mean()


def language(model, x):
    # The reference shifts its labels itself; the fixture holds them shifted.
    labels = torch.cat([torch.full_like(x["labels"][:, :1], -100), x["labels"][:, :-1]], 1)
    out = model(input_ids=x["tokens"], attention_mask=x["mask"].long(), labels=labels)
    return {"logits": out.logits}, out.loss


def padded(model, x, **more):
    return model(input_ids=x["tokens"], attention_mask=x["mask"].long(), **more)


def with_labels(model, x):
    out = padded(model, x, labels=x["labels"])
    return {"logits": out.logits}, out.loss


def spans(model, x):
    out = padded(model, x)
    return {"start_logits": out.start_logits, "end_logits": out.end_logits}, out.start_logits.square().mean() + out.end_logits.square().mean()


if __name__ == "__main__":
    given = inputs()
    following = torch.cat([given["tokens"][:, 1:], torch.full((3, 1), -100)], 1)
    following[torch.cat([given["mask"][:, 1:], torch.zeros(3, 1, dtype=torch.bool)], 1).logical_not()] = -100
    write("gpt2.safetensors", GPT2LMHeadModel, language, prefix="transformer.", more={"labels": following}, heads=["lm_head"])
    write("gpt2.model.safetensors", GPT2Model, hidden, prefix="", n_inner=40, activation_function="relu", scale_attn_by_inverse_layer_idx=True)
    classes = {0: "no", 1: "maybe", 2: "yes"}
    names = dict(id2label=classes, label2id={v: k for k, v in classes.items()})
    filled = given["tokens"].clamp_min(1).masked_fill(given["mask"].logical_not(), 0)  # the reference tells padding by its id
    write("gpt2.sequence_classification.safetensors", GPT2ForSequenceClassification, with_labels, prefix="transformer.", pad_token_id=0, **names,
          more={"tokens": filled, "labels": torch.tensor([0, 2, 1])}, head_grads=["score.weight"])
    tags = tokens("tags", (3, 10), 0, 0, 3)
    tags[given["mask"].logical_not()] = -100
    write("gpt2.token_classification.safetensors", GPT2ForTokenClassification, with_labels, prefix="transformer.", more={"labels": tags}, **names,
          heads=["classifier"], head_grads=["classifier.weight"])
    write("gpt2.question_answering.safetensors", GPT2ForQuestionAnswering, spans, prefix="transformer.", heads=["qa_outputs"],
          head_grads=["qa_outputs.weight"])
