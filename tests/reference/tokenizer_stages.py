"""Writes tests/fixtures/tokenizers/stages.json and small_*.model: what the reference makes of difficult texts, stage by stage.

Each stage is a few parts that replace those of one base document (a tokenizer.json whose model gives every byte an id of its
own, so that what normalizers and pre-tokenizers do shows in ids, offsets and words). The small SentencePiece models are
trained here, on words made by a rule. Needs tokenizers, transformers and sentencepiece.
    python tests/reference/tokenizer_stages.py
"""

import base64
import io
import json
import pathlib

import sentencepiece
import sentencepiece.sentencepiece_model_pb2 as protocol
import tokenizers
from wordpiece import encoded

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "fixtures/tokenizers"
BYTES = [f"<0x{b:02X}>" for b in range(256)]
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<mask>"]
LETTERS = list("abcdefghijklmnopqrstuvwxyz ▁Ġ.,'!0123456789éß")
VOCAB = {t: i for i, t in enumerate(SPECIAL + BYTES + LETTERS)}
BASE = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [
        {"id": i, "content": t, "single_word": False, "lstrip": t == "<mask>", "rstrip": False, "normalized": False}
        | {"special": True}
        for i, t in enumerate(SPECIAL)
    ],
    "normalizer": None,
    "pre_tokenizer": None,
    "post_processor": None,
    "decoder": None,
    "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": True, "vocab": VOCAB, "merges": []},
}
BASE["model"] |= {"dropout": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True}

SPELLINGS = [
    "",
    "  Éa ",
    "e\u0301\u0323o ﬁ½²",
    "ＡＢ１ ①Å",
    "İIß ΣΑΣ",
    "a\u0000b\u00ad\u200b\u200dc\ufeff\r\n\t",
    "中a字。 각\u1100\u1161",
    "\u0301a\u2028b\u3000c\u0085",
    "👍🏽 é<mask> É",
    "aaa  bb\u00a0 x1",
]
WORDS = [
    "",
    " ",
    "  Hey  you!? ",
    "don't we'LL 'S it's",
    "a1b22 ½Ⅷ٣ x_y-z",
    "one,two;;three--",
    "\ta\n\n b\r\n  c\u00a0d\u3000e ",
    "Привет мир中文 かな 👍👍",
    "a <mask> b<s>c",
    "▁a▁ ▁▁b",
    "«q» $5+3=8 `x` ^~|",
]
PAIRS = [("a b", None), (" a  b ", "cd "), ("", "x"), ("abc <mask> d", "é 👍")]


def normalizers():
    bert = {"type": "BertNormalizer", "clean_text": False, "handle_chinese_chars": False, "strip_accents": False}
    bert["lowercase"] = False
    yield bert
    for field in ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase"):
        yield bert | {field: True}
    yield {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    for kind in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel"):
        yield {"type": kind}
    for left, right in ((True, True), (True, False), (False, True)):
        yield {"type": "Strip", "strip_left": left, "strip_right": right}
    for kind, pattern, content in [
        ("String", "a", "éé"),
        ("String", "b", ""),
        ("String", " ", "▁"),
        ("Regex", "\\s+", " "),
        ("Regex", "[^\\w\\s]|a{2}", "<>"),
        ("Regex", "^ | $", ""),
        ("Regex", "(?i)É", "e"),
    ]:
        yield {"type": "Replace", "pattern": {kind: pattern}, "content": content}
    yield {"type": "Prepend", "prepend": "▁"}
    yield {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap()).decode()}
    steps = [{"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}, {"type": "Prepend", "prepend": "▁"}]
    steps.append({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})
    yield {"type": "Sequence", "normalizers": steps}
    yield {"type": "Sequence", "normalizers": []}


BEHAVIORS = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
CLAUSES = "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"


def pre_tokenizers():
    for kind in ("BertPreTokenizer", "Whitespace", "WhitespaceSplit"):
        yield {"type": kind}
    for prefix in (True, False):
        for regex in (True, False):
            yield {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}
    for scheme in ("always", "first", "never"):
        for split in (True, False):
            yield {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}
    for behavior in BEHAVIORS:
        yield {"type": "Punctuation", "behavior": behavior}
        for invert in (False, True):
            yield {"type": "Split", "pattern": {"Regex": "\\w+"}, "behavior": behavior, "invert": invert}
        yield {"type": "Split", "pattern": {"String": " "}, "behavior": behavior, "invert": False}
    yield {"type": "Split", "pattern": {"Regex": CLAUSES}, "behavior": "Isolated", "invert": False}
    yield {"type": "Digits", "individual_digits": True}
    yield {"type": "Digits", "individual_digits": False}
    yield {"type": "CharDelimiterSplit", "delimiter": "b"}
    yield {"type": "FixedLength", "length": 3}
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    yield {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]}
    yield {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, {"type": "Digits", "individual_digits": True}]}


def post_processors():
    yield {"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1]}
    for trim in (True, False):
        for prefix in (True, False):
            options = {"trim_offsets": trim, "add_prefix_space": prefix}
            yield {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1]} | options
            yield {"type": "ByteLevel", "use_regex": True} | options
    tokens = {t: {"id": t, "ids": ids, "tokens": [SPECIAL[i] for i in ids]} for t, ids in (("<s>", [1]), ("x", [2, 3]))}
    first, second = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    begin, end = ({"SpecialToken": {"id": t, "type_id": i}} for t, i in (("<s>", 0), ("x", 1)))
    template = {"type": "TemplateProcessing", "single": [begin, first, end], "pair": [second, begin, first, end]}
    template["special_tokens"] = tokens
    yield template
    level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    yield {"type": "Sequence", "processors": [level, template]}
    yield {"type": "Sequence", "processors": [level | {"trim_offsets": True}, template]}


PIECES = ["▁Hello", "▁", "world", "##ing", "##s", ".", "n't", "'s", "do", "not", "</w>x</w>", "low</w>", "Ġa", "Ã", "©", "<0xC3>"]
PIECES += ["<0xA9>", "<0xFF>", "|", "a", "aa", "H", "[PAD]", "▁▁b▁", " spaced ", "中", "<0x0A>", "<0xZZ>", "yes</w>", "ðŁ", "?", "\n"]
SENTENCES = [
    "▁Hello ▁ world ##ing . ▁▁b▁",
    "world ##ing ##s . do not n't 's ?",
    "</w>x</w> low</w> yes</w> a low</w>",
    "Ġa Ã © a Ġa Ã a ðŁ 中 ?",
    "<0xC3> <0xA9> a <0xFF> <0xC3> a <0x0A> <0xZZ> <0xC3>",
    "H H [PAD] H a a | | aa [PAD] a",
    "##s ##s a aa",
    "",
]


def decoders():
    yield None
    yield {"type": "WordPiece", "prefix": "##", "cleanup": True}
    yield {"type": "WordPiece", "prefix": "##", "cleanup": False}
    for kind in ("ByteLevel", "ByteFallback", "Fuse"):
        yield {"type": kind} | ({"add_prefix_space": True, "trim_offsets": True, "use_regex": True} if kind == "ByteLevel" else {})
    yield {"type": "BPEDecoder", "suffix": "</w>"}
    for scheme in ("always", "never", "first"):
        yield {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": True}
    for cleanup in (True, False):
        yield {"type": "CTC", "pad_token": "[PAD]", "word_delimiter_token": "|", "cleanup": cleanup}
    yield {"type": "Strip", "content": "▁", "start": 1, "stop": 0}  # the reference panics where both ends meet
    yield {"type": "Strip", "content": " ", "start": 0, "stop": 2}
    yield {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    yield {"type": "Replace", "pattern": {"Regex": "[a-z]+"}, "content": "<>"}
    steps = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]
    steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    yield {"type": "Sequence", "decoders": steps}


def models():
    words = {"<unk>": 0, "a": 1, "b": 2, "ab": 3, "abc": 4, "c": 5, "é": 6, "aba": 7}
    bpe = {"type": "BPE", "unk_token": "<unk>", "vocab": words, "merges": [["a", "b"], ["ab", "c"], ["ab", "a"]]}
    for options in ({}, {"fuse_unk": True}, {"unk_token": None}, {"ignore_merges": True}, {"merges": ["a b", "ab c"]}):
        yield bpe | options
    parts = {"<unk>": 0, "a": 1, "##b": 2, "ab": 3, "##c": 4, "abc": 5, "b": 6}
    yield bpe | {"vocab": parts, "merges": [["a", "##b"], ["ab", "##c"]], "continuing_subword_prefix": "##"}
    ends = {"<unk>": 0, "a": 1, "b": 2, "b</w>": 3, "ab</w>": 4, "ba": 5, "c</w>": 6}
    yield bpe | {"vocab": ends, "merges": [["a", "b</w>"], ["b", "a"]], "end_of_word_suffix": "</w>"}
    few = words | {"<0xC3>": 8, "<0xA9>": 9, "<0xC4>": 10}
    yield bpe | {"vocab": few, "byte_fallback": True}
    pieces = [["<unk>", 0.0], ["a", -1.0], ["b", -2.0], ["ab", -2.5], ["c", -2.0], ["abc", -5.0], ["é", -3.0], ["▁", -1.5]]
    yield {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": False}
    bytes_ = [["<0xC3>", -9.0], ["<0xB6>", -9.0], ["<0xE4>", -9.0]]
    yield {"type": "Unigram", "unk_id": 0, "vocab": pieces + bytes_, "byte_fallback": True}
    yield {"type": "WordLevel", "unk_token": "<unk>", "vocab": words}
    wordpiece = {"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##", "max_input_chars_per_word": 4}
    yield wordpiece | {"vocab": parts}
    yield wordpiece | {"vocab": words, "continuing_subword_prefix": ""}


MODEL_TEXTS = ["", "abc", "abab cab", "aabcéö", "zzabzz 中ab", "abcabcab", "ä ö", "ba ab b"]


def charsmap():
    """A small table of SentencePiece's own making."""
    rules = {"ﬁ": "fi", "½": "1/2", "Ａ": "A", "①": "1", "\u200b": "", "\u3000": " ", "\u0085": " ", "e\u0301": "é", "각": "ga"}
    path = FIXTURES / "rules.tsv"
    path.write_text("".join(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n" for a, b in rules.items()))
    model = trained("unigram", vocab_size=300, normalization_rule_tsv=str(path), byte_fallback=True)
    path.unlink()
    document = protocol.ModelProto()
    document.ParseFromString(model)
    return document.normalizer_spec.precompiled_charsmap


def trained(kind, **options):
    syllables = [a + b for a in "bcdfglmnprst" for b in "aeiou"]
    x, sentences = 1, []
    for _ in range(400):
        words = []
        for _ in range(6):
            x = (x * 1103515245 + 12345) & 0x7FFFFFFF
            words.append("".join(syllables[(x >> s) % len(syllables)] for s in range(8, 8 + 5 * (1 + x % 3), 5)))
        sentences.append(" ".join(words) + ".")
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=out, model_type=kind, minloglevel=2, num_threads=1, **options
    )
    return out.getvalue()


IDENTITY = {"normalization_rule_name": "identity"}  # the usual table has 240 KB
SENTENCE_MODELS = {
    "small_bpe.model": ("bpe", {"vocab_size": 420, "byte_fallback": True, "user_defined_symbols": ["<x>", "ba"]} | IDENTITY),
    "small_bpe_plain.model": ("bpe", {"vocab_size": 120, "add_dummy_prefix": False} | IDENTITY),
    "small_unigram.model": ("unigram", {"vocab_size": 420, "byte_fallback": True, "user_defined_symbols": ["<x>", "bab"]} | IDENTITY),
    "small_suffix.model": ("unigram", {"vocab_size": 120, "treat_whitespace_as_suffix": True, "remove_extra_whitespaces": False} | IDENTITY),
}
SENTENCES_IN = ["", " ", "bada lotu.", "  Bada  lotu ", "ba<x>babab<s> dé中", "mamamamamama tititi", "a\tb\nc", "<unk>▁ba▁ <0x41>", "babababaraturagi. "]


def sentence_cases(model):
    processor, out = sentencepiece.SentencePieceProcessor(model_proto=model), []
    for text in SENTENCES_IN:
        pieces = processor.encode(text, return_type="proto").pieces
        ids = [p.id for p in pieces]
        out.append({"text": text, "ids": ids, "offsets": [[p.begin, p.end] for p in pieces], "decoded": processor.decode(ids)})
    x, decoded = 7, []
    for count in (1, 2, 3, 5, 8) * 12:
        ids = []
        for _ in range(count):
            x = (x * 1103515245 + 12345) & 0x7FFFFFFF
            ids.append((x >> 8) % processor.get_piece_size())
        decoded.append({"ids": ids, "text": processor.decode(ids)})
    return {"cases": out, "decoded": decoded}


def compact(case):
    """Without what is the same everywhere."""
    for key in ("type_ids", "special"):
        if not any(case[key]):
            del case[key]
    return case


def stage(parts, inputs):
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(BASE | parts))
    cases = []
    for text, pair in inputs:
        case = {"text": text} | ({"pair": pair} if pair is not None else {}) | encoded(tokenizer, text, pair)
        cases.append(compact(case))
    return {"parts": parts, "cases": cases}


def decoder_stage(decoder):
    vocab = {t: i for i, t in enumerate(PIECES)} | {"<unk>": len(PIECES)}
    parts = {"added_tokens": [], "decoder": decoder, "model": {"type": "WordLevel", "unk_token": "<unk>", "vocab": vocab}}
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(BASE | parts))
    inputs = [[vocab[p] for p in s.split(" ") if p] for s in SENTENCES] + [list(range(len(PIECES)))]
    return {"parts": parts, "decoded": [{"ids": i, "text": tokenizer.decode(i)} for i in inputs]}


def main():
    stages = [stage({"normalizer": n}, [(t, None) for t in SPELLINGS]) for n in normalizers()]
    stages += [stage({"pre_tokenizer": p}, [(t, None) for t in WORDS]) for p in pre_tokenizers()]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    stages += [stage({"pre_tokenizer": level, "post_processor": p}, PAIRS) for p in post_processors()]
    split = {"type": "WhitespaceSplit"}
    stages += [stage({"pre_tokenizer": split, "added_tokens": [], "model": m}, [(t, None) for t in MODEL_TEXTS]) for m in models()]
    stages += [decoder_stage(d) for d in decoders()]
    sentence_models = []
    for name, (kind, options) in SENTENCE_MODELS.items():
        model = trained(kind, **options)
        (FIXTURES / name).write_bytes(model)
        sentence_models.append({"file": name} | sentence_cases(model))
    document = {
        "reference": f"tokenizers {tokenizers.__version__}, sentencepiece {sentencepiece.__version__}",
        "base": BASE,
        "stages": stages,
        "sentencepiece": sentence_models,
    }
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    for key in ('{"text"', '{"parts"', '{"file"'):
        text = text.replace(key, "\n" + key)
    (FIXTURES / "stages.json").write_text(text + "\n")
    print(sum(len(s.get("cases", s.get("decoded"))) for s in stages + sentence_models), "cases of", len(stages), "stages")


if __name__ == "__main__":
    main()
