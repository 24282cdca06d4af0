"""Fixtures of BERT and its heads, from transformers.  python tests/reference/bert.py"""
import torch
import transformers
from transformers import BertConfig, BertForMaskedLM, BertForQuestionAnswering, BertForSequenceClassification, BertForTokenClassification, BertModel

from fill import tokens
from fixture import write_fixture

SIZES = dict(vocab_size=120, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
             max_position_embeddings=24, type_vocab_size=2)


def inputs(batch=3, length=10):
    mask = torch.ones(batch, length, dtype=torch.bool)
    mask[1, 7:] = False
    mask[2, 3:] = False
    return {"tokens": tokens("tokens", (batch, length), 0, 1, SIZES["vocab_size"]), "mask": mask,
            "token_types": tokens("token_types", (batch, length), 0, 0, 2)}


def encode(model, x, **more):
    return model(input_ids=x["tokens"], attention_mask=x["mask"].long(), token_type_ids=x["token_types"], **more)


def layer_mids(prefix, pooler):
    layers = [f"{prefix}encoder.layer.{i}{part}" for i in range(2)
              for part in (".attention.self", ".attention.output", ".attention", ".intermediate", ".output", "")]
    return [f"{prefix}embeddings", *layers, f"{prefix}encoder", *([f"{prefix}pooler"] if pooler else [])]


def layer_grads(prefix):
    return [f"{prefix}embeddings.word_embeddings.weight", f"{prefix}embeddings.position_embeddings.weight",
            f"{prefix}embeddings.LayerNorm.weight", f"{prefix}encoder.layer.0.attention.self.query.weight",
            f"{prefix}encoder.layer.0.attention.self.key.bias", f"{prefix}encoder.layer.1.attention.output.dense.weight",
            f"{prefix}encoder.layer.1.intermediate.dense.weight", f"{prefix}encoder.layer.1.output.LayerNorm.bias"]


def write(file, cls, call, *, prefix, pooler, grads=(), extra_inputs=None, mids=(), **config):
    settings = BertConfig(**SIZES, **config)
    model = cls(settings)
    described = {**SIZES, "hidden_act": settings.hidden_act, "architectures": [cls.__name__], "model_type": "bert"}
    if "id2label" in config:
        described["id2label"] = {str(k): v for k, v in config["id2label"].items()}
    write_fixture(file, model, name="bert", config=described, inputs={**inputs(), **(extra_inputs or {})}, call=call,
                  reference={"package": "transformers", "version": transformers.__version__, "class": cls.__name__},
                  mids=[*layer_mids(prefix, pooler), *mids], grads=[*layer_grads(prefix), *grads])


def encoder(model, x):
    out = encode(model, x)
    return ({"hidden": out.last_hidden_state, "pooled": out.pooler_output},
            out.last_hidden_state.square().mean() + out.pooler_output.square().mean())


def with_labels(model, x):
    out = encode(model, x, labels=x["labels"])
    return {"logits": out.logits}, out.loss


def spans(model, x):
    out = encode(model, x)
    return {"start_logits": out.start_logits, "end_logits": out.end_logits}, out.start_logits.square().mean() + out.end_logits.square().mean()


if __name__ == "__main__":
    write("bert.safetensors", BertModel, encoder, prefix="", pooler=True, grads=["pooler.dense.weight"])
    labels = tokens("labels", (3, 10), 0, 0, SIZES["vocab_size"])
    labels[:, ::2] = -100
    write("bert.masked_lm.safetensors", BertForMaskedLM, with_labels, prefix="bert.", pooler=False, hidden_act="gelu_new",
          extra_inputs={"labels": labels}, mids=["cls.predictions.transform", "cls"],
          grads=["cls.predictions.bias", "cls.predictions.transform.dense.weight"])
    classes = {0: "no", 1: "maybe", 2: "yes"}
    write("bert.sequence_classification.safetensors", BertForSequenceClassification, with_labels, prefix="bert.", pooler=True,
          id2label=classes, label2id={v: k for k, v in classes.items()}, extra_inputs={"labels": torch.tensor([0, 2, 1])},
          grads=["classifier.weight", "bert.pooler.dense.bias"])
    tags = tokens("tags", (3, 10), 0, 0, 3)
    tags[inputs()["mask"].logical_not()] = -100
    write("bert.token_classification.safetensors", BertForTokenClassification, with_labels, prefix="bert.", pooler=False,
          id2label=classes, label2id={v: k for k, v in classes.items()}, extra_inputs={"labels": tags}, grads=["classifier.bias"])
    write("bert.question_answering.safetensors", BertForQuestionAnswering, spans, prefix="bert.", pooler=False, mids=["qa_outputs"],
          grads=["qa_outputs.weight"])
