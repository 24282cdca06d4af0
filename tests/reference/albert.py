"""Fixtures of ALBERT and its heads, from transformers; with a folder also of the published checkpoint in it.

python tests/reference/albert.py
python tests/reference/albert.py path/to/rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k
"""
import json
import sys
from pathlib import Path

import torch
import transformers
from transformers import (AlbertConfig, AlbertForMaskedLM, AlbertForPreTraining, AlbertForQuestionAnswering, AlbertForSequenceClassification,
                          AlbertForTokenClassification, AlbertModel)

from bert import encode, encoder, spans, with_labels
from fill import tokens
from fixture import write_fixture

SIZES = dict(vocab_size=120, embedding_size=16, hidden_size=32, num_hidden_layers=5, num_hidden_groups=2, inner_group_num=2,
             num_attention_heads=4, intermediate_size=48, max_position_embeddings=24, type_vocab_size=2, pad_token_id=0)
REFERENCE = {"package": "transformers", "version": transformers.__version__}


def inputs(batch=3, length=10):
    mask = torch.ones(batch, length, dtype=torch.bool)
    mask[1, 7:] = False
    mask[2, 3:] = False
    ids = tokens("tokens", (batch, length), 0, 1, SIZES["vocab_size"])
    ids[mask.logical_not()] = 0
    return {"tokens": ids, "mask": mask, "token_types": tokens("token_types", (batch, length), 0, 0, 2)}


def mids(prefix):
    layers = [f"{prefix}encoder.albert_layer_groups.{group}.albert_layers.{layer}{part}" for group in range(2) for layer in range(2)
              for part in (".attention", "")]
    return [f"{prefix}embeddings", f"{prefix}encoder.embedding_hidden_mapping_in", *layers, f"{prefix}encoder"]


def grads(prefix):
    layer = f"{prefix}encoder.albert_layer_groups.1.albert_layers.0"
    return [f"{prefix}embeddings.word_embeddings.weight", f"{prefix}embeddings.position_embeddings.weight",
            f"{prefix}encoder.embedding_hidden_mapping_in.weight", f"{prefix}encoder.albert_layer_groups.0.albert_layers.1.attention.query.weight",
            f"{layer}.ffn.weight", f"{layer}.full_layer_layer_norm.weight", f"{layer}.attention.dense.bias"]


def write(file, cls, call, *, prefix, more=None, heads=(), head_grads=(), **config):
    settings = AlbertConfig(**SIZES, **config)
    described = {**SIZES, "hidden_act": settings.hidden_act, "architectures": [cls.__name__], "model_type": "albert"}
    if "id2label" in config:
        described["id2label"] = {str(k): v for k, v in config["id2label"].items()}
    write_fixture(file, cls(settings), name="albert", config=described, inputs={**inputs(), **(more or {})}, call=call,
                  reference={**REFERENCE, "class": cls.__name__}, mids=[*mids(prefix), *heads], grads=[*grads(prefix), *head_grads])


def pre_training(model, x):
    out = encode(model, x)
    return ({"logits": out.prediction_logits, "sop_logits": out.sop_logits},
            out.prediction_logits.square().mean() + out.sop_logits.square().mean())


def masked_reaction(folder):
    """The masked language model of rxnmapper on two reactions, tokenised by its vocabulary; two tokens hidden."""
    vocabulary = {word: i for i, word in enumerate((Path(folder) / "vocab.txt").read_text().splitlines())}
    reactions = ["C C ( = O ) O . O C C >> C C ( = O ) O C C . O", "N c 1 c c c c c 1 . C C ( = O ) Cl >> C C ( = O ) N c 1 c c c c c 1"]
    rows = [[vocabulary[word] for word in ["[CLS]", *text.split(), "[SEP]"]] for text in reactions]
    for row in rows:
        row[3] = row[-4] = vocabulary["[MASK]"]
    ids = torch.full((2, max(map(len, rows))), vocabulary["[PAD]"])
    for i, row in enumerate(rows):
        ids[i, :len(row)] = torch.tensor(row)
    model = AlbertForMaskedLM.from_pretrained(folder)
    config = json.loads((Path(folder) / "config.json").read_text())

    def call(network, x):
        return {"logits": network(input_ids=x["tokens"], attention_mask=x["mask"].long()).logits}, None

    write_fixture("checkpoints/rxnmapper.safetensors", model, name="albert", config=config, inputs={"tokens": ids, "mask": ids.ne(vocabulary["[PAD]"])},
                  call=call, reference={**REFERENCE, "class": "AlbertForMaskedLM"}, weights="rxnmapper 0.4.3 (PyPI), albert_heads_8_uspto_all_1310k",
                  mids=["albert.embeddings", "albert.encoder"], notes="real weights on real reactions")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        masked_reaction(sys.argv[1])
        sys.exit()
    write("albert.safetensors", AlbertModel, encoder, prefix="", head_grads=["pooler.weight"])
    labels = tokens("labels", (3, 10), 0, 0, SIZES["vocab_size"])
    labels[:, ::2] = -100
    write("albert.masked_lm.safetensors", AlbertForMaskedLM, with_labels, prefix="albert.", hidden_act="gelu", more={"labels": labels},
          heads=["predictions"], head_grads=["predictions.bias", "predictions.dense.weight"])
    classes = {0: "no", 1: "maybe", 2: "yes"}
    names = dict(id2label=classes, label2id={v: k for k, v in classes.items()})
    write("albert.sequence_classification.safetensors", AlbertForSequenceClassification, with_labels, prefix="albert.", **names,
          more={"labels": torch.tensor([0, 2, 1])}, head_grads=["classifier.weight", "albert.pooler.bias"])
    tags = tokens("tags", (3, 10), 0, 0, 3)
    tags[inputs()["mask"].logical_not()] = -100
    write("albert.token_classification.safetensors", AlbertForTokenClassification, with_labels, prefix="albert.", **names,
          more={"labels": tags}, head_grads=["classifier.bias"])
    write("albert.question_answering.safetensors", AlbertForQuestionAnswering, spans, prefix="albert.", heads=["qa_outputs"],
          head_grads=["qa_outputs.weight"])
    write("albert.pre_training.safetensors", AlbertForPreTraining, pre_training, prefix="albert.", heads=["predictions"],
          head_grads=["predictions.dense.weight", "sop_classifier.classifier.weight", "albert.pooler.weight"])
