"""Fixtures of T5, plain and gated, and its heads, from transformers.  python tests/reference/t5.py"""
import torch
import transformers
from transformers import (T5Config, T5EncoderModel, T5ForConditionalGeneration, T5ForQuestionAnswering, T5ForSequenceClassification,
                          T5ForTokenClassification, T5Model)

from fill import tokens
from fixture import write_fixture

SIZES = dict(vocab_size=120, d_model=32, d_kv=6, d_ff=48, num_layers=2, num_decoder_layers=3, num_heads=4,
             relative_attention_num_buckets=8, relative_attention_max_distance=12, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)


def inputs(batch=3, length=17):
    mask = torch.ones(batch, length, dtype=torch.bool)
    mask[1, 11:] = False
    mask[2, 3:] = False
    ids = tokens("tokens", (batch, length), 0, 2, SIZES["vocab_size"])
    ids[0, 16] = ids[1, 10] = ids[2, 2] = 1
    return {"tokens": ids, "mask": mask}


def decoder_inputs(batch=3, length=14):
    labels = tokens("labels", (batch, length), 0, 1, SIZES["vocab_size"])
    labels[1, 9:] = -100
    shifted = torch.zeros_like(labels)
    shifted[:, 1:] = labels[:, :-1].clamp_min(0)
    return {"labels": labels, "decoder_tokens": shifted}


def block_mids(prefix, decoder):
    sides = [("encoder", 2, ("SelfAttention", "DenseReluDense"))] + ([("decoder", 3, ("SelfAttention", "EncDecAttention", "DenseReluDense"))] if decoder else [])
    mids = []
    for side, count, parts in sides:
        for i in range(count):
            for j, part in enumerate(parts):
                mids += [f"{prefix}{side}.block.{i}.layer.{j}.{part}", f"{prefix}{side}.block.{i}.layer.{j}"]
            mids.append(f"{prefix}{side}.block.{i}")
        mids.append(f"{prefix}{side}.final_layer_norm")
    return mids


def block_grads(prefix, decoder, gated):
    grads = [f"{prefix}shared.weight", f"{prefix}encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
             f"{prefix}encoder.block.1.layer.0.SelfAttention.q.weight", f"{prefix}encoder.block.0.layer.1.DenseReluDense.wo.weight",
             f"{prefix}encoder.block.1.layer.1.layer_norm.weight"]
    if decoder:
        grads += [f"{prefix}decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                  f"{prefix}decoder.block.2.layer.1.EncDecAttention.k.weight", f"{prefix}decoder.block.1.layer.0.SelfAttention.v.weight",
                  f"{prefix}decoder.block.2.layer.2.DenseReluDense.{'wi_0' if gated else 'wi'}.weight", f"{prefix}decoder.final_layer_norm.weight"]
    return grads


def write(file, cls, call, *, prefix="", decoder=True, grads=(), more=None, untie=False, mids=(), **config):
    settings = T5Config(**SIZES, **config)
    model = cls(settings)
    if untie:  # what loading a file with both weights does
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    described = {**SIZES, **{k: v for k, v in config.items() if k not in ("id2label", "label2id")}, "architectures": [cls.__name__], "model_type": "t5"}
    if "id2label" in config:
        described["id2label"] = {str(k): v for k, v in config["id2label"].items()}
    gated = config.get("feed_forward_proj", "").startswith("gated")
    write_fixture(file, model, name="t5", config=described, inputs={**inputs(), **(more or {})}, call=call,
                  reference={"package": "transformers", "version": transformers.__version__, "class": cls.__name__},
                  mids=[*block_mids(prefix, decoder), *mids], grads=[*block_grads(prefix, decoder, gated), *grads])


def read(model, x, **more):
    return model(input_ids=x["tokens"], attention_mask=x["mask"].long(), **more)


def generation(model, x):
    out = read(model, x, decoder_input_ids=x["decoder_tokens"], labels=x["labels"])
    return {"logits": out.logits}, out.loss


def hidden(model, x):
    more = {"decoder_input_ids": x["decoder_tokens"]} if "decoder_tokens" in x else {}
    out = read(model, x, **more).last_hidden_state
    return {"hidden": out}, out.square().mean()


def with_labels(model, x):
    out = read(model, x, labels=x["labels"])
    return {"logits": out.logits}, out.loss


def classify(model, x):  # the reference wants as many </s> in every text
    logits = read(model, x).logits
    return {"logits": logits}, torch.nn.functional.cross_entropy(logits, x["labels"])


def spans(model, x):
    out = read(model, x)
    return {"start_logits": out.start_logits, "end_logits": out.end_logits}, out.start_logits.square().mean() + out.end_logits.square().mean()


if __name__ == "__main__":
    write("t5.safetensors", T5ForConditionalGeneration, generation, more=decoder_inputs(), mids=["lm_head"])
    write("t5.v1_1.safetensors", T5ForConditionalGeneration, generation, more=decoder_inputs(), untie=True, mids=["lm_head"], grads=["lm_head.weight"],
          feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    write("t5.model.safetensors", T5Model, hidden, more={"decoder_tokens": decoder_inputs()["decoder_tokens"]}, feed_forward_proj="gated-silu")
    write("t5.encoder.safetensors", T5EncoderModel, hidden, decoder=False)
    classes = {0: "no", 1: "maybe", 2: "yes"}
    names = dict(id2label=classes, label2id={v: k for k, v in classes.items()})
    write("t5.sequence_classification.safetensors", T5ForSequenceClassification, classify, prefix="transformer.", more={"labels": torch.tensor([0, 2, 1])},
          mids=["classification_head"], grads=["classification_head.dense.weight", "classification_head.out_proj.bias"], **names)
    tags = tokens("tags", (3, 17), 0, 0, 3)
    tags[inputs()["mask"].logical_not()] = -100
    write("t5.token_classification.safetensors", T5ForTokenClassification, with_labels, prefix="transformer.", decoder=False, more={"labels": tags},
          mids=["classifier"], grads=["classifier.weight"], **names)
    write("t5.question_answering.safetensors", T5ForQuestionAnswering, spans, mids=["qa_outputs"], grads=["qa_outputs.weight"])
