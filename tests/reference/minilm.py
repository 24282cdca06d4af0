"""Fixture of the full all-MiniLM-L6-v2 checkpoint on real sentences: every layer's hidden states, from transformers.

python tests/reference/minilm.py path/to/minilm
"""
import sys

import torch
import transformers
from transformers import AutoTokenizer, BertModel

from fixture import write_fixture

SENTENCES = [
    "A girl is styling her hair.",
    "The Republic of Côte d'Ivoire lies on the southern coast of West Africa.",
    "Attention is all you need: the dominant sequence transduction models are based on complex recurrent networks.",
    "2,758 sentences took 12.7 s on 2 threads.",
]


def call(model, x):
    out = model(input_ids=x["tokens"], attention_mask=x["mask"].long())
    return {"hidden": out.last_hidden_state, "pooled": out.pooler_output}, None


if __name__ == "__main__":
    model = BertModel.from_pretrained(sys.argv[1])
    batch = AutoTokenizer.from_pretrained(sys.argv[1])(SENTENCES, padding="longest", return_tensors="pt")
    config = {k: v for k, v in model.config.to_dict().items() if k in (
        "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings",
        "type_vocab_size", "hidden_act", "layer_norm_eps")}
    write_fixture("checkpoints/minilm.safetensors", model, name="bert", config={**config, "architectures": ["BertModel"]},
                  inputs={"tokens": batch["input_ids"], "mask": batch["attention_mask"].bool()}, call=call,
                  reference={"package": "transformers", "version": transformers.__version__, "class": "BertModel"},
                  mids=["embeddings", "encoder.layer.0", "encoder.layer.2", "encoder.layer.4"], weights="all-MiniLM-L6-v2",
                  notes="real weights on real sentences")
