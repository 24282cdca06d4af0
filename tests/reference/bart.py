"""Fixtures of BART and its heads, from transformers.  python tests/reference/bart.py"""
import torch
import transformers
from transformers import BartConfig, BartForConditionalGeneration, BartForQuestionAnswering, BartForSequenceClassification, BartModel

from fill import tokens
from fixture import write_fixture

SIZES = dict(vocab_size=120, max_position_embeddings=24, d_model=32, encoder_layers=2, encoder_ffn_dim=48, encoder_attention_heads=4,
             decoder_layers=3, decoder_ffn_dim=40, decoder_attention_heads=2, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2)


def inputs(batch=3, length=13):
    mask = torch.ones(batch, length, dtype=torch.bool)
    mask[1, 9:] = False
    mask[2, 3:] = False
    ids = tokens("tokens", (batch, length), 0, 3, SIZES["vocab_size"])
    ids[0, 12] = ids[1, 8] = ids[2, 2] = 2
    return {"tokens": ids, "mask": mask}


def decoder_inputs(batch=3, length=10):
    labels = tokens("labels", (batch, length), 0, 2, SIZES["vocab_size"])
    labels[1, 7:] = -100
    shifted = torch.full_like(labels, 2)
    shifted[:, 1:] = labels[:, :-1]
    return {"labels": labels, "decoder_tokens": shifted.masked_fill(shifted == -100, 1)}


def mids(prefix):
    paths = []
    for side, count, parts in (("encoder", 2, ("self_attn",)), ("decoder", 3, ("self_attn", "encoder_attn"))):
        paths.append(f"{prefix}{side}.layernorm_embedding")
        for i in range(count):
            paths += [f"{prefix}{side}.layers.{i}.{part}" for part in parts] + [f"{prefix}{side}.layers.{i}"]
    return paths


def grads(prefix):
    return [f"{prefix}shared.weight", f"{prefix}encoder.embed_positions.weight", f"{prefix}decoder.embed_positions.weight",
            f"{prefix}encoder.layers.0.self_attn.q_proj.weight", f"{prefix}encoder.layers.1.fc1.bias", f"{prefix}decoder.layers.0.self_attn.k_proj.bias",
            f"{prefix}decoder.layers.2.encoder_attn.v_proj.weight", f"{prefix}decoder.layers.1.final_layer_norm.weight", f"{prefix}decoder.layers.2.fc2.weight"]


def write(file, cls, call, *, prefix="model.", more=None, heads=(), head_grads=(), **config):
    model = cls(BartConfig(**SIZES, **config))
    described = {**SIZES, **{k: v for k, v in config.items() if k not in ("id2label", "label2id")}, "architectures": [cls.__name__], "model_type": "bart"}
    if "id2label" in config:
        described["id2label"] = {str(k): v for k, v in config["id2label"].items()}
    write_fixture(file, model, name="bart", config=described, inputs={**inputs(), **(more or {})}, call=call,
                  reference={"package": "transformers", "version": transformers.__version__, "class": cls.__name__},
                  mids=[*mids(prefix), *heads], grads=[*grads(prefix), *head_grads])


def read(model, x, **more):
    return model(input_ids=x["tokens"], attention_mask=x["mask"].long(), **more)


def generation(model, x):
    out = read(model, x, decoder_input_ids=x["decoder_tokens"], labels=x["labels"])
    return {"logits": out.logits}, out.loss


def hidden(model, x):
    out = read(model, x, decoder_input_ids=x["decoder_tokens"]).last_hidden_state
    return {"hidden": out}, out.square().mean()


def classify(model, x):
    out = read(model, x, labels=x["labels"])
    return {"logits": out.logits}, out.loss


def spans(model, x):
    out = read(model, x)
    return {"start_logits": out.start_logits, "end_logits": out.end_logits}, out.start_logits.square().mean() + out.end_logits.square().mean()


if __name__ == "__main__":
    write("bart.safetensors", BartForConditionalGeneration, generation, more=decoder_inputs(), heads=["lm_head"])
    write("bart.model.safetensors", BartModel, hidden, prefix="", more={"decoder_tokens": decoder_inputs()["decoder_tokens"]}, scale_embedding=True,
          activation_function="relu")
    classes = {0: "no", 1: "maybe", 2: "yes"}
    write("bart.sequence_classification.safetensors", BartForSequenceClassification, classify, more={"labels": torch.tensor([0, 2, 1])},
          heads=["classification_head"], head_grads=["classification_head.dense.weight", "classification_head.out_proj.bias"],
          id2label=classes, label2id={v: k for k, v in classes.items()})
    write("bart.question_answering.safetensors", BartForQuestionAnswering, spans, heads=["qa_outputs"], head_grads=["qa_outputs.weight"])
