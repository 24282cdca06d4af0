"""Fixtures of RoBERTa, its heads and its namesakes, from transformers.  python tests/reference/roberta.py"""
import torch
import transformers
from transformers import (CamembertConfig, CamembertForSequenceClassification, RobertaConfig, RobertaForMaskedLM, RobertaForQuestionAnswering,
                          RobertaForSequenceClassification, RobertaForTokenClassification, RobertaModel, XLMRobertaConfig, XLMRobertaForMaskedLM)

from bert import encoder, spans, with_labels
from fill import tokens
from fixture import write_fixture

SIZES = dict(vocab_size=120, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
             max_position_embeddings=24, type_vocab_size=2, layer_norm_eps=1e-5, pad_token_id=1)


def inputs(batch=3, length=10):
    mask = torch.ones(batch, length, dtype=torch.bool)
    mask[1, 7:] = False
    mask[2, 3:] = False
    ids = tokens("tokens", (batch, length), 0, 2, SIZES["vocab_size"])
    ids[mask.logical_not()] = 1
    ids[0, 4] = 1  # positions do not count it, although attention reads it
    return {"tokens": ids, "mask": mask, "token_types": tokens("token_types", (batch, length), 0, 0, 2)}


def mids(prefix):
    layers = [f"{prefix}encoder.layer.{i}{part}" for i in range(2)
              for part in (".attention.self", ".attention.output", ".attention", ".intermediate", ".output", "")]
    return [f"{prefix}embeddings", *layers, f"{prefix}encoder"]


def grads(prefix):
    return [f"{prefix}embeddings.word_embeddings.weight", f"{prefix}embeddings.position_embeddings.weight",
            f"{prefix}embeddings.token_type_embeddings.weight", f"{prefix}encoder.layer.0.attention.self.query.weight",
            f"{prefix}encoder.layer.1.attention.output.dense.weight", f"{prefix}encoder.layer.1.output.LayerNorm.bias"]


def write(file, cls, call, *, prefix, more=None, heads=(), head_grads=(), config_class=RobertaConfig, **config):
    settings = config_class(**SIZES, **config)
    described = {**SIZES, "hidden_act": settings.hidden_act, "architectures": [cls.__name__], "model_type": settings.model_type}
    if "id2label" in config:
        described["id2label"] = {str(k): v for k, v in config["id2label"].items()}
    write_fixture(file, cls(settings), name="roberta", config=described, inputs={**inputs(), **(more or {})}, call=call,
                  reference={"package": "transformers", "version": transformers.__version__, "class": cls.__name__},
                  mids=[*mids(prefix), *heads], grads=[*grads(prefix), *head_grads])


if __name__ == "__main__":
    write("roberta.safetensors", RobertaModel, encoder, prefix="", heads=["pooler"], head_grads=["pooler.dense.weight"])
    labels = tokens("labels", (3, 10), 0, 0, SIZES["vocab_size"])
    labels[:, ::2] = -100
    write("roberta.masked_lm.safetensors", RobertaForMaskedLM, with_labels, prefix="roberta.", hidden_act="relu", more={"labels": labels},
          heads=["lm_head"], head_grads=["lm_head.bias", "lm_head.dense.weight"])
    classes = {0: "no", 1: "maybe", 2: "yes"}
    names = dict(id2label=classes, label2id={v: k for k, v in classes.items()})
    write("roberta.sequence_classification.safetensors", RobertaForSequenceClassification, with_labels, prefix="roberta.", **names,
          more={"labels": torch.tensor([0, 2, 1])}, heads=["classifier"], head_grads=["classifier.dense.weight", "classifier.out_proj.weight"])
    tags = tokens("tags", (3, 10), 0, 0, 3)
    tags[inputs()["mask"].logical_not()] = -100
    write("roberta.token_classification.safetensors", RobertaForTokenClassification, with_labels, prefix="roberta.", **names,
          more={"labels": tags}, heads=["classifier"], head_grads=["classifier.bias"])
    write("roberta.question_answering.safetensors", RobertaForQuestionAnswering, spans, prefix="roberta.", heads=["qa_outputs"],
          head_grads=["qa_outputs.weight"])
    write("roberta.xlm_masked_lm.safetensors", XLMRobertaForMaskedLM, with_labels, prefix="roberta.", more={"labels": labels}, heads=["lm_head"],
          head_grads=["lm_head.bias"], config_class=XLMRobertaConfig)
    write("roberta.camembert_classification.safetensors", CamembertForSequenceClassification, with_labels, prefix="roberta.", **names,
          more={"labels": torch.tensor([0, 2, 1])}, heads=["classifier"], head_grads=["classifier.dense.weight"], config_class=CamembertConfig)
