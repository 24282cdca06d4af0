"""What transformers' generate() writes with filled weights: ids and scores of many option sets.  python tests/reference/generation.py [t5] [bart] [gpt2]

With transformers 5: tests/fixtures/generation/<network>.json, stop/<network>.json (stop strings, with tokenizers) and warpers.json (what
sampling leaves of given scores). With transformers 4.49, the last that has group beam search: groups/<network>.json.
"""
import itertools
import json
import sys

import numpy as np
import torch
import transformers
from transformers import BartConfig, BartForConditionalGeneration, GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

from fill import fill_, tokens, values
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


ALLOWED = [[11, 12, 13, 14], [11, 12, 20], [30, 31, 32, 33, 34, 35, 36], [40], [41, 42, 43]]


def allowed_after(sequence, ends):
    """Which tokens may follow, of the outputs in ALLOWED and then an end; an end as well where none goes on."""
    found = sorted({(*ids, ends[0])[len(sequence)] for ids in ALLOWED if len(ids) >= len(sequence) and [*ids, ends[0]][:len(sequence)] == sequence})
    return found or ends


def more_option_sets(eos, encoder):
    """Of options that came later; `prefix` and `allowed` are not generate()'s own names."""
    single = [dict(encoder_repetition_penalty=1.6), dict(encoder_repetition_penalty=0.6), dict(sequence_bias=[[[14], -4.0], [[20, 21], 3.0], [[5], 2.5], [[3, 4, 5], -9.0]]),
              dict(exponential_decay_length_penalty=[3, 1.3]), dict(exponential_decay_length_penalty=[0, 1.05], suppress_tokens=[5]),
              dict(renormalize_logits=True, repetition_penalty=1.4), dict(remove_invalid_values=True, bad_words_ids=[[14], [20, 21]]), dict(allowed=True)]
    if encoder:
        single += [dict(prefix=[11, 25]), dict(prefix=[7], forced_bos_token_id=7, begin_suppress_tokens=[12, 40], no_repeat_ngram_size=2)]
    for options in single:
        yield options
        yield dict(num_beams=3, num_return_sequences=2, **options)
    yield dict(num_beams=4, num_return_sequences=4, allowed=True, early_stopping=True)
    yield dict(num_beams=2, allowed=True, repetition_penalty=1.7, length_penalty=-1.0)


def group_sets():
    for early, length in itertools.product((False, True, "never"), (-1.0, 0.0, 1.0, 2.0)):
        yield dict(num_beams=4, num_beam_groups=2, diversity_penalty=0.7, early_stopping=early, length_penalty=length, num_return_sequences=4)
    yield dict(num_beams=3, num_beam_groups=3, diversity_penalty=1.5, num_return_sequences=3)
    yield dict(num_beams=6, num_beam_groups=3, diversity_penalty=0.3, num_return_sequences=5, repetition_penalty=1.4)
    yield dict(num_beams=4, num_beam_groups=2, diversity_penalty=5.0, num_return_sequences=3, no_repeat_ngram_size=2, min_new_tokens=6)


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


def made(name):
    """A network, the factors of its weights, its prompts for each seed and what ends a text with odd seeds."""
    cls, config_class, sizes = SHAPES[name]
    model = cls(config_class(**sizes)).eval()
    fill_(model, 0)
    return model, scaled(model, SCALES[name]), sizes


def inputs(name, sizes, seed, padded=True):
    ids = tokens("tokens", (3, 9), seed, 3, 90)
    mask = torch.ones(3, 9, dtype=torch.long)
    if not padded:
        return dict(input_ids=ids, attention_mask=mask, max_new_tokens=14)
    padding = slice(0, 3) if name == "gpt2" else slice(6, 9)  # prompts end together
    mask[1, padding] = 0
    ids[1, padding] = sizes["pad_token_id"]
    return dict(input_ids=ids, attention_mask=mask, max_new_tokens=14)


def ends_of(model, call, sizes, seed, prompt):
    """Filled networks seldom write the one end of sequence: with odd seeds what greedy decoding writes sixth ends a text as well."""
    more = sorted(set(model.generate(**call)[:, prompt + 5].tolist()) - {sizes["pad_token_id"], sizes["eos_token_id"]})
    return [sizes["eos_token_id"], *more] if seed % 2 else sizes["eos_token_id"]


def generated(model, call, options, prompt):
    """One case: the options with what generate() writes."""
    ends = options["eos_token_id"] if isinstance(options["eos_token_id"], list) else [options["eos_token_id"]]
    own = {key: value for key, value in options.items() if key not in ("prefix", "allowed")}
    if "prefix" in options:
        own["decoder_input_ids"] = torch.tensor([[model.config.decoder_start_token_id, *options["prefix"]]] * 3)
    if "allowed" in options:
        own["prefix_allowed_tokens_fn"] = lambda _, sequence: allowed_after(sequence[prompt:].tolist(), ends)
    out = model.generate(**call, return_dict_in_generate=True, output_scores=True, **own)
    beams = options.get("num_beams", 1) > 1
    shown = {**options, "allowed": [[*ids, ends[0]] for ids in ALLOWED]} if "allowed" in options else options
    return {"options": shown, "sequences": out.sequences.tolist(), "scores": out.sequences_scores.tolist() if beams else []}


def write_document(folder, name, model, scale, sizes, cases, **more):
    document = {"reference": f"transformers {transformers.__version__} generate",
                "config": {k: v for k, v in {**sizes, "architectures": [type(model).__name__], "model_type": name}.items() if v is not None},
                "scale": scale, "prompt": 9 if name == "gpt2" else 1, "max_new_tokens": 14, **more, "cases": cases}
    path = FIXTURES / "generation" / folder
    path.mkdir(parents=True, exist_ok=True)
    (path / f"{name}.json").write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
    sequences = [tuple(sequence) for case in cases for sequence in case["sequences"]]
    print(f"{folder or 'options'} {name}: {len(cases)} cases, {len(set(sequences))} distinct of {len(sequences)} sequences, e.g. {cases[0]['sequences'][0]}")


def write(name):
    model, scale, sizes = made(name)
    prompt = 9 if name == "gpt2" else 1  # tokens of a sequence before the first new one
    cases = []
    for seed in range(8):
        call = inputs(name, sizes, seed)
        ends = ends_of(model, call, sizes, seed, prompt)
        more = more_option_sets(sizes["eos_token_id"], name != "gpt2") if seed < 4 else []
        for options in [*option_sets(sizes["eos_token_id"]), *more]:
            own = sizes["eos_token_id"] if "allowed" in options else ends  # what ends a text is not part of an output
            cases.append({"seed": seed, **generated(model, call, {"eos_token_id": own, **options}, prompt)})
    write_document("", name, model, scale, sizes, cases)


def write_groups(name):
    model, scale, sizes = made(name)
    prompt = 9 if name == "gpt2" else 1
    cases = []
    for seed in range(4):
        call = inputs(name, sizes, seed, padded=False)  # transformers 4.49 and 5 differ in padded rows
        ends = ends_of(model, call, sizes, seed, prompt)
        cases += [{"seed": seed, **generated(model, call, {"eos_token_id": ends, **options}, prompt)} for options in group_sets()]
    write_document("groups", name, model, scale, sizes, cases, padded=False)


LETTERS = [*"abcdefghijklmnopqrstuvwxyz", *".,!?'-0123456789"]
PIECES = ["th", "the", "an", "st", "op", "stop", "er", "ing", "pp", "to", "las", "topper", "ped", "a b", "..", "?!", "ed", "in", "on", "re"]


def small_tokenizers():
    """Three ways in which tokens become text, each with 90 tokens: bytes, pieces with a mark for a space, and continued words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    special = ["<s>", "<pad>", "</s>"]
    bytes_of = lambda text: "".join(piece for piece, _ in pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text))
    kinds = {"bytes": [*LETTERS, *(bytes_of(p) for p in PIECES), *(bytes_of(" " + p) for p in PIECES[:10]), *bytes_of("é東"), bytes_of(" "), bytes_of("\n")],
             "marks": [*LETTERS, *PIECES, *("▁" + p for p in [*PIECES[:10], *"abcdefg"]), "▁", "é", "東"],
             "words": [*LETTERS, *PIECES, *("##" + p for p in [*"abcdefghij", *PIECES[:14]])]}
    made = {}
    for kind, pieces in kinds.items():
        pieces = [*dict.fromkeys([*special, *pieces])]
        vocabulary = {token: i for i, token in enumerate([*pieces, *(f"x{i}" for i in range(90 - len(pieces)))][:90])}
        if kind == "words":
            tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="<s>"))
            tokenizer.decoder = decoders.WordPiece(cleanup=False)
        else:
            tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<s>"))
            tokenizer.decoder = decoders.ByteLevel() if kind == "bytes" else decoders.Metaspace()
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False) if kind == "bytes" else pre_tokenizers.Metaspace()
        tokenizer.add_special_tokens(special)
        made[kind] = tokenizer
    return made


def write_stop_strings(name):
    from transformers import PreTrainedTokenizerFast
    model, scale, sizes = made(name)
    prompt = 9 if name == "gpt2" else 1
    cases, kinds = [], small_tokenizers()
    for seed, (kind, backend) in itertools.product(range(4), kinds.items()):
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
        call = inputs(name, sizes, seed)
        plain = [tokenizer.decode(row[prompt:]) for row in model.generate(**call)]
        cuts = [text[begin:begin + length] for text, begin, length in zip(plain, (3, 7, 5), (1, 3, 4))]
        cuts = [cut for cut in cuts if cut and "\ufffd" not in cut]
        for stops in ([cuts[0]], cuts[-1:], cuts, [*cuts[1:], "never there", "z" * 9]):
            for beams in (1, 3):
                options = dict(eos_token_id=sizes["eos_token_id"], stop_strings=stops, num_beams=beams, num_return_sequences=min(beams, 2))
                out = model.generate(**call, tokenizer=tokenizer, return_dict_in_generate=True, output_scores=True, **options)
                cases.append({"seed": seed, "tokenizer": kind, "options": options, "sequences": out.sequences.tolist(),
                              "scores": out.sequences_scores.tolist() if beams > 1 else []})
    write_document("stop", name, model, scale, sizes, cases, tokenizers={kind: json.loads(backend.to_str()) for kind, backend in kinds.items()})


def write_warpers():
    """What is left of scores [3, 60] before a token is drawn: for each case the ids that stay, row by row, and their scores."""
    from transformers.generation import logits_process as p
    scores = torch.from_numpy(np.stack([values(f"scores.{row}", (60,), 0) for row in range(3)])).float() * torch.tensor([[30.0], [80.0], [10.0]])
    scores[1, ::7] = -float("inf")
    cases = []
    for beams, options in itertools.product((1, 2), (
            dict(temperature=0.7), dict(top_k=5), dict(top_k=1), dict(top_p=0.9), dict(top_p=0.2), dict(min_p=0.05), dict(min_p=0.7), dict(typical_p=0.9), dict(typical_p=0.2),
            dict(top_h=0.4), dict(top_h=0.9), dict(top_h=1.0), dict(epsilon_cutoff=0.01), dict(epsilon_cutoff=0.3), dict(eta_cutoff=0.01), dict(eta_cutoff=0.3),
            dict(temperature=1.7, top_k=20, top_p=0.95), dict(temperature=0.5, top_h=0.6, min_p=0.02, renormalize_logits=True),
            dict(typical_p=0.8, epsilon_cutoff=0.02, eta_cutoff=0.05))):
        least = 2 if beams > 1 else 1
        makers = {"temperature": p.TemperatureLogitsWarper, "top_h": p.TopHLogitsWarper, **{key: lambda value, cls=cls: cls(value, min_tokens_to_keep=least) for key, cls in (
            ("top_k", p.TopKLogitsWarper), ("top_p", p.TopPLogitsWarper), ("min_p", p.MinPLogitsWarper), ("typical_p", p.TypicalLogitsWarper),
            ("epsilon_cutoff", p.EpsilonLogitsWarper), ("eta_cutoff", p.EtaLogitsWarper))}}
        x = scores
        for key, maker in makers.items():  # in generate()'s order
            if key in options:
                x = maker(options[key])(None, x)
        if options.get("renormalize_logits"):
            x = p.LogitNormalization()(None, x)
        kept = [[i for i, value in enumerate(row) if value > -float("inf")] for row in x.tolist()]
        cases.append({"num_beams": beams, "options": options, "kept": kept, "values": [[round(row[i], 5) for i in ids] for row, ids in zip(x.tolist(), kept)]})
    document = {"reference": f"transformers {transformers.__version__} logits_process", "cases": cases}
    (FIXTURES / "generation" / "warpers.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
    print(f"warpers: {len(cases)} cases")


if __name__ == "__main__":
    modern = int(transformers.__version__.split(".")[0]) >= 5
    for network in sys.argv[1:] or SHAPES:
        if modern:
            write(network)
            write_stop_strings(network)
        else:
            write_groups(network)
    if modern:
        write_warpers()
