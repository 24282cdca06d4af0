"""Fixtures of GPT-2, from transformers.  python tests/reference/gpt2.py"""
import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model

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


def write(file, cls, call, *, prefix, more=None, heads=(), **config):
    described = {**SIZES, **config, "architectures": [cls.__name__], "model_type": "gpt2"}
    write_fixture(file, cls(GPT2Config(**SIZES, **config)), name="gpt2", config=described, inputs={**inputs(), **(more or {})}, call=call,
                  reference={"package": "transformers", "version": transformers.__version__, "class": cls.__name__},
                  mids=[*mids(prefix), *heads], grads=grads(prefix))


def hidden(model, x):
    out = model(input_ids=x["tokens"], attention_mask=x["mask"].long()).last_hidden_state
    return {"hidden": out}, out.square().mean()


def language(model, x):
    # The reference shifts its labels itself; the fixture holds them shifted.
    labels = torch.cat([torch.full_like(x["labels"][:, :1], -100), x["labels"][:, :-1]], 1)
    out = model(input_ids=x["tokens"], attention_mask=x["mask"].long(), labels=labels)
    return {"logits": out.logits}, out.loss


if __name__ == "__main__":
    given = inputs()
    following = torch.cat([given["tokens"][:, 1:], torch.full((3, 1), -100)], 1)
    following[torch.cat([given["mask"][:, 1:], torch.zeros(3, 1, dtype=torch.bool)], 1).logical_not()] = -100
    write("gpt2.safetensors", GPT2LMHeadModel, language, prefix="transformer.", more={"labels": following}, heads=["lm_head"])
    write("gpt2.model.safetensors", GPT2Model, hidden, prefix="", n_inner=40, activation_function="relu", scale_attn_by_inverse_layer_idx=True)
