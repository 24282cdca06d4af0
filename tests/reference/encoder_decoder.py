"""Fixtures of encoder-decoders assembled from two encoders, from transformers, and what their generate() writes.

python tests/reference/encoder_decoder.py
"""
import json

import torch
import transformers
from transformers import (BertConfig, BertLMHeadModel, BertModel, EncoderDecoderConfig, EncoderDecoderModel, RobertaConfig, RobertaForCausalLM,
                          RobertaModel)

import generation
from fill import tokens
from fixture import FIXTURES, write_fixture

SIZES = dict(vocab_size=120, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, max_position_embeddings=40)
FAMILIES = {"bert": (BertConfig, BertModel, BertLMHeadModel, {}), "roberta": (RobertaConfig, RobertaModel, RobertaForCausalLM, dict(pad_token_id=1))}


def assembled(encoder, decoder, pad, eos, start, *, encoder_sizes=None, decoder_sizes=None, **sizes):
    """The model and its config.json."""
    parts = []
    for family, more, role in ((encoder, encoder_sizes, {}), (decoder, decoder_sizes, dict(is_decoder=True, add_cross_attention=True))):
        parts.append({**SIZES, **sizes, **FAMILIES[family][3], **(more or {}), **role})
    configs = [FAMILIES[family][0](**part) for family, part in zip((encoder, decoder), parts)]
    ids = dict(pad_token_id=pad, eos_token_id=eos, decoder_start_token_id=start)
    config = EncoderDecoderConfig.from_encoder_decoder_configs(*configs, **ids)
    model = EncoderDecoderModel(config=config, encoder=FAMILIES[encoder][1](configs[0]), decoder=FAMILIES[decoder][2](configs[1]))
    described = {"encoder": {**parts[0], "model_type": encoder}, "decoder": {**parts[1], "model_type": decoder}, **ids,
                 "architectures": ["EncoderDecoderModel"], "model_type": "encoder-decoder"}
    return model, described


def inputs(batch=3, length=13, written=10):
    mask = torch.ones(batch, length, dtype=torch.bool)
    mask[1, 9:] = False
    mask[2, 3:] = False
    ids = tokens("tokens", (batch, length), 0, 3, SIZES["vocab_size"])
    ids[mask.logical_not()] = 1
    labels = tokens("labels", (batch, written), 0, 3, SIZES["vocab_size"])
    labels[1, 7:] = -100
    shifted = torch.full_like(labels, 2)
    shifted[:, 1:] = labels[:, :-1]
    return {"tokens": ids, "mask": mask, "labels": labels, "decoder_tokens": shifted.masked_fill(shifted == -100, 1)}


def call(model, x):
    out = model(input_ids=x["tokens"], attention_mask=x["mask"].long(), decoder_input_ids=x["decoder_tokens"], labels=x["labels"])
    return {"logits": out.logits}, out.loss


def write(file, encoder, decoder, **sizes):
    model, config = assembled(encoder, decoder, 1, 2, 2, **sizes)
    inner = f"decoder.{decoder}."
    layers = [f"{inner}encoder.layer.{i}{part}" for i in range(2) for part in (".attention", ".crossattention.self", ".crossattention", ".intermediate", ".output", "")]
    read = [f"encoder.encoder.layer.{i}{part}" for i in range(2) for part in (".attention", ".output", "")]
    head = "cls" if decoder == "bert" else "lm_head"
    bias = "decoder.cls.predictions.bias" if decoder == "bert" else "decoder.lm_head.bias"
    widen = ["enc_to_dec_proj.weight"] if hasattr(model, "enc_to_dec_proj") else []
    write_fixture(file, model, name="encoder_decoder", config=config, inputs=inputs(), call=call,
                  reference={"package": "transformers", "version": transformers.__version__, "class": f"EncoderDecoderModel {encoder} {decoder}"},
                  mids=["encoder.embeddings", *read, "encoder.encoder", *[key.removesuffix(".weight") for key in widen], f"{inner}embeddings", *layers,
                        f"{inner}encoder", f"decoder.{head}"],
                  grads=["encoder.embeddings.word_embeddings.weight", "encoder.encoder.layer.0.attention.self.query.weight", *widen,
                         f"{inner}embeddings.word_embeddings.weight", f"{inner}embeddings.position_embeddings.weight",
                         f"{inner}encoder.layer.0.attention.self.key.weight", f"{inner}encoder.layer.1.crossattention.self.value.weight",
                         f"{inner}encoder.layer.0.crossattention.self.query.bias", f"{inner}encoder.layer.1.crossattention.output.LayerNorm.weight",
                         f"{inner}encoder.layer.1.output.dense.weight", bias])


# Factors of the decoder's filled weights, as in generation.py: what the layers add must outweigh what they read.
SCALES = {"word_embeddings.weight": 4.0, "position_embeddings.weight": 8.0, "output.dense.weight": 8.0, "query.weight": 8.0}


def scaled(model, factors):
    found = {}
    with torch.no_grad():
        for key, value in model.named_parameters():
            for end, factor in factors.items():
                if key.startswith("decoder.") and key.endswith(end):
                    value.mul_(factor)
                    found[key] = factor
    return found


def write_texts(file, family):
    """generation.py's cases with this network in place of one of its own."""
    sizes = {**SIZES, "vocab_size": 90}
    model, config = assembled(family, family, 1, 2, 0, vocab_size=90)
    original = generation.scaled
    generation.scaled = lambda built, factors: scaled(built, factors)
    generation.SHAPES[file] = (lambda _: model, lambda **_: None, {**sizes, "pad_token_id": 1, "eos_token_id": 2})
    generation.SCALES[file] = SCALES
    try:
        generation.write(file)
    finally:
        generation.scaled = original
    path = FIXTURES / "generation" / f"{file}.json"
    document = json.loads(path.read_text())
    document["config"] = config
    path.write_text(json.dumps(document, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    write("encoder_decoder.safetensors", "bert", "bert")
    write("encoder_decoder.roberta.safetensors", "roberta", "roberta")
    write("encoder_decoder.mixed.safetensors", "roberta", "bert", encoder_sizes=dict(hidden_size=24, vocab_size=130))
    write_texts("encoder_decoder", "bert")
    write_texts("encoder_decoder.roberta", "roberta")
