"""What transformers' generate() writes with filled weights: ids and scores of many option sets.  python tests/reference/generation.py [t5] [bart] [gpt2]"""
import itertools
import json
import sys

import torch
import transformers
from transformers import BartConfig, BartForConditionalGeneration, GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

from fill import fill_, tokens
from fixture import FIXTURES

torch.set_num_threads(1)  # the networks are tiny

SHAPES = {"t5": (T5ForConditionalGeneration, T5Config, dict(vocab_size=90, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, relative_attention_num_buckets=8,
                 relative_attention_max_distance=12, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)),
          "bart": (BartForConditionalGeneration, BartConfig, dict(vocab_size=90, max_position_embeddings=40, d_model=32, encoder_layers=2, encoder_ffn_dim=48,
                   encoder_attention_heads=4, decoder_layers=2, decoder_ffn_dim=48, decoder_attention_heads=4, pad_token_id=1, eos_token_id=2,
                   decoder_start_token_id=2, forced_eos_token_id=None, bos_token_id=0)),
          "gpt2": (GPT2LMHeadModel, GPT2Config, dict(vocab_size=90, n_positions=40, n_embd=32, n_layer=2, n_head=4, n_inner=48, pad_token_id=1,
                   eos_token_id=2, bos_token_id=0))}
# Factors of the filled weights by the end of their keys, in the decoder and of the shared embedding. Without them a network with
# tied embeddings writes its last token again and again: what the layers add must outweigh what they read.
SCALES = {"t5": {"shared.weight": 4.0, ".o.weight": 16.0, "wo.weight": 16.0, "relative_attention_bias.weight": 8.0},
          "bart": {"shared.weight": 4.0, "out_proj.weight": 8.0, "fc2.weight": 8.0, "q_proj.weight": 8.0, "embed_positions.weight": 8.0},
          "gpt2": {"wte.weight": 4.0, "c_attn.weight": 3.0, "c_proj.weight": 16.0, "wpe.weight": 8.0}}


def option_sets(eos):
    for penalty in (1.0, 1.7):
        for ngram in (0, 2):
            yield dict(repetition_penalty=penalty, no_repeat_ngram_size=ngram)
    yield dict(min_new_tokens=6)
    yield dict(forced_bos_token_id=7)
    yield dict(forced_eos_token_id=eos)
    yield dict(suppress_tokens=[5, 9, 33], begin_suppress_tokens=[12, 40])
    yield dict(bad_words_ids=[[14], [20, 21], [3, 4, 5]])
    yield dict(encoder_no_repeat_ngram_size=2)
    for beams, early, length in itertools.product((2, 4), (False, True, "never"), (-1.0, 0.0, 1.0, 2.0)):
        yield dict(num_beams=beams, early_stopping=early, length_penalty=length, num_return_sequences=2)
    for more in (dict(no_repeat_ngram_size=2), dict(repetition_penalty=1.4), dict(min_new_tokens=8), dict(forced_bos_token_id=7), dict(forced_eos_token_id=eos),
                 dict(suppress_tokens=[5, 9]), dict(bad_words_ids=[[14], [20, 21]]), dict(encoder_no_repeat_ngram_size=2), dict(eos_token_id=[1, 2, 30, 31])):
        yield dict(num_beams=3, num_return_sequences=3, **more)


def scaled(model, factors):
    """Scales the weights; returns the factor of each key."""
    found = {}
    with torch.no_grad():
        for key, value in model.named_parameters():
            for end, factor in factors.items():
                if key.endswith(end) and "encoder." not in key:
                    value.mul_(factor)
                    found[key] = factor
    return found


def write(name):
    cls, config_class, sizes = SHAPES[name]
    model = cls(config_class(**sizes)).eval()
    fill_(model, 0)
    scale = scaled(model, SCALES[name])
    prompt = 1 if model.config.is_encoder_decoder else 9  # tokens of a sequence before the first new one
    padding = slice(6, 9) if prompt == 1 else slice(0, 3)  # prompts end together
    cases, distinct, rows, early = [], set(), 0, 0
    for seed in range(8):
        ids = tokens("tokens", (3, 9), seed, 3, 90)
        mask = torch.ones(3, 9, dtype=torch.long)
        mask[1, padding] = 0
        ids[1, padding] = sizes["pad_token_id"]
        call = dict(input_ids=ids, attention_mask=mask, max_new_tokens=14)
        # Filled networks seldom write the one end of sequence: with odd seeds what greedy decoding writes sixth ends a text as well.
        more = sorted(set(model.generate(**call)[:, prompt + 5].tolist()) - {sizes["pad_token_id"], sizes["eos_token_id"]})
        ends = [sizes["eos_token_id"], *more] if seed % 2 else sizes["eos_token_id"]
        for options in option_sets(sizes["eos_token_id"]):
            options = {"eos_token_id": ends, **options}
            out = model.generate(**call, return_dict_in_generate=True, output_scores=True, **options)
            scores = out.sequences_scores.tolist() if options.get("num_beams", 1) > 1 else []
            sequences = out.sequences.tolist()
            distinct.update(map(tuple, sequences))
            rows += len(sequences)
            stops = set(torch.tensor(options["eos_token_id"]).view(-1).tolist())
            early += sum(any(token in stops for token in sequence[prompt:prompt + 13]) for sequence in sequences)
            cases.append({"seed": seed, "options": options, "sequences": sequences, "scores": scores})
    described = {k: v for k, v in {**sizes, "architectures": [cls.__name__], "model_type": name}.items() if v is not None}
    document = {"reference": f"transformers {transformers.__version__} generate", "config": described, "scale": scale, "prompt": prompt, "max_new_tokens": 14, "cases": cases}
    (FIXTURES / "generation").mkdir(exist_ok=True)
    (FIXTURES / "generation" / f"{name}.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
    print(f"{name}: {len(cases)} cases, {len(distinct)} distinct of {rows} sequences, {early} ended before the last token, e.g. {cases[0]['sequences'][0]}")


if __name__ == "__main__":
    for network in sys.argv[1:] or SHAPES:
        write(network)
