"""Writes tests/fixtures/tokenizers/wordpiece_golden.json: what the reference makes of difficult texts.

Each tokenizer of the file is a set of files to load (tokenizer.json, or vocab.txt with tokenizer_config.json) and cases;
offsets are bytes of the UTF-8 text. Needs tokenizers and transformers.
    python tests/reference/wordpiece.py
"""

import json
import pathlib
import tempfile

import tokenizers
import transformers

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = list("abcdefghijklmnopqrstuvwxyzABIßéäσςıÀфΩ0123456789") + [
    "\u0301",
    "\u0307",
    "ア",
    "각",
    "ᄀ",
    "ᅡ",
    "ᆨ",
]
WORDS = [
    "the",
    "un",
    "##aff",
    "##able",
    "hello",
    "world",
    "Hello",
    "straße",
    "##ing",
    "##s",
    "中",
    "字",
    "。",
    ".",
    ",",
    "!",
    "?",
    "'",
    "-",
    "[",
    "]",
    "(",
    ")",
    "#",
    "##",
    "$",
    "«",
    "»",
    "~",
    "\U0001f600",
    "don",
    "t",
    "n't",
    "'s",
    "do",
    "not",
    "re",
    "mask",
    "cls",
]
VOCAB = list(dict.fromkeys(SPECIAL + LETTERS + [f"##{c}" for c in LETTERS] + WORDS))

TEXTS = [
    "",
    " ",
    "\t\n\r",
    "Hello, world!",
    "unaffable",
    "UNAFFABLE things",
    "the   the\u00a0the\u3000the\u2003the",
    "a\u0000b",
    "a\ufffdb",
    "a\u200bb",
    "a\u200db",
    "a\u00adb",
    "a\ufeffb",
    "a\x0bb\x0cc\x85d",
    "a\x1cb\x1db",
    "a\u2028b\u2029c",
    "a\ue000b",
    "a\U000f0000b",
    "a\U0010ffffb",
    "a\u0378b",
    "éàü",
    "e\u0301a\u0300",
    "a\u0301\u0323b",
    "a\u0323\u0301b",
    "A\u030a\u212b",
    "\u0344a",
    "\u1e9b\u0323",
    "ﬁ ﬀ ½ ²",
    "ΟΔΟΣ ΣΑΣ σς",
    "İstanbul ıI Iı",
    "STRASSE Straße ẞ",
    "DŽ Dž dž",
    "ÀÉ",
    "中字 中a字",
    "a中b",
    "中\u3000字。",
    "\U00020000a\U0002f800",
    "㐀a豈",
    "アイ",
    "각 각 ᄀ",
    "한국어",
    "hello\U0001f600world",
    "\U0001f468\u200d\U0001f469",
    "#hello ##ing $5 ~a~ `b` ^c",
    "don't 's n't",
    "«a» „b“ a–b a—b",
    "a_b a+b a=b a|b",
    "[MASK] [mask] [ MASK ]",
    "the[MASK]the [SEP] the[CLS]",
    "[UNK] [PAD][PAD]",
    "[MASK",
    "x" * 99,
    "x" * 100,
    "x" * 101,
    "é" * 100,
    "é" * 101,
    "q漢q",
    "hello##ing",
    "\u0301",
    "\u0301a",
    "a \u0301b",
    "фΩ",
    "0123456789",
    "hello.world?the!a,b - ( c )",
    "𝐚𝐛",
    "ａｂ",
    "\u0958 \u09dc \u0b5c",
    "\u0f73\u0f75",
    "\u11938 \U00011938",
    "\u07fda",
    "\u1dfa",
    "\u1c80\ua7cb\U00010d50",
]
MALFORMED = [
    "61ff62",
    "61c328",
    "e28061",
    "61e282",
    "c080",
    "eda080",
    "f0908061",
    "f5808080",
    "f09f98",
    "61 80 80 62",
]
PAIRS = [
    ("hello world", "the the"),
    ("", "a"),
    ("a b c d e f g h", "the"),
    ("the", "a b c d e f g h"),
    ("a b c d e", "a b c d e"),
    ("unaffable unaffable", "unaffable unaffable unaffable"),
    ("a [SEP] b", ""),
]


def tokenizer_json(lowercase, strip_accents=None, added=(), processor="template"):
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({t: i for i, t in enumerate(VOCAB)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(
        lowercase=lowercase, strip_accents=strip_accents
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = tokenizers.decoders.WordPiece()
    cls, sep = ("[CLS]", VOCAB.index("[CLS]")), ("[SEP]", VOCAB.index("[SEP]"))
    if processor == "bert":
        tokenizer.post_processor = tokenizers.processors.BertProcessing(sep, cls)
    elif processor == "template":
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[cls, sep]
        )
    tokenizer.add_special_tokens([tokenizers.AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    tokenizer.add_tokens(list(added))
    return tokenizer


def from_vocab_txt(config, vocab_text):
    with tempfile.TemporaryDirectory() as folder:
        files = {
            "vocab.txt": vocab_text,
            "tokenizer_config.json": json.dumps({"tokenizer_class": "BertTokenizer"} | config),
        }
        for name, text in files.items():
            pathlib.Path(folder, name).write_text(text, newline="")
        return files, transformers.AutoTokenizer.from_pretrained(folder).backend_tokenizer


def encoded(tokenizer, text, pair=None, max_length=0):
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length) if max_length else tokenizer.no_truncation()
    e = tokenizer.encode(text, pair)
    offsets = []
    for (begin, end), sequence in zip(e.offsets, e.sequence_ids):
        source = pair if sequence == 1 else text
        offsets.append([len(source[:begin].encode()), len(source[:end].encode())])
    return {
        "ids": e.ids,
        "type_ids": e.type_ids,
        "offsets": offsets,
        "special": e.special_tokens_mask,
        "word_ids": [-1 if w is None else w for w in e.word_ids],
        "decoded": tokenizer.decode(e.ids),
    }


def cases(tokenizer, texts, lengths):
    out = [{"text": t} | encoded(tokenizer, t) for t in texts]
    if texts is not TEXTS:
        return out
    out += [
        {
            "bytes": h.replace(" ", ""),
            "ids": encoded(tokenizer, bytes.fromhex(h).decode("utf-8", "replace"))["ids"],
        }
        for h in MALFORMED
    ]
    for text, pair in PAIRS:
        for max_length in lengths:
            e = encoded(tokenizer, text, pair, max_length)
            out.append(
                {"text": text, "pair": pair, "max_length": max_length}
                | {k: e[k] for k in ("ids", "type_ids", "offsets", "word_ids")}
            )
    for max_length in (2, 3, 4, 7):
        e = encoded(tokenizer, "unaffable hello [MASK] world", None, max_length)
        out.append(
            {
                "text": "unaffable hello [MASK] world",
                "max_length": max_length,
                "ids": e["ids"],
                "type_ids": e["type_ids"],
            }
        )
    return out


def entry(name, files, tokenizer, texts=TEXTS, lengths=(0, 5)):
    return {
        "name": name,
        "files": files,
        "vocab_size": tokenizer.get_vocab_size(),
        "special": {t: tokenizer.token_to_id(t) for t in SPECIAL},
        "cases": cases(tokenizer, texts, lengths),
    }


def main():
    added = [
        tokenizers.AddedToken("Hello", single_word=True),
        tokenizers.AddedToken("<x>", lstrip=True, rstrip=True, normalized=False),
        tokenizers.AddedToken("<xy>", lstrip=True, normalized=False),
        tokenizers.AddedToken("Σé", rstrip=True),
    ]
    added_texts = [
        "Hello hello Hellos HELLO",
        "a  <x>  b<x><x>",
        "a <xy>b <xyz> <x",
        "σe ΣÉ  a Σé",
        "hello-HELLO_hello",
        "é<xy>é",
        " <x> <xy> ",
    ]
    dirty = (
        "\r\n".join(VOCAB[:-1]) + " \nthe\n\n" + VOCAB[-1]
    )  # CRLF, a repeated token, an empty line, no last newline
    plain = "\n".join(VOCAB) + "\n"
    few = TEXTS[:8] + TEXTS[20:45]
    out = []
    for name, tokenizer in [
        ("uncased", tokenizer_json(True)),
        ("cased", tokenizer_json(False, processor="bert")),
        ("uncased accents", tokenizer_json(True, False, processor=None)),
        ("cased bare", tokenizer_json(False, True)),
    ]:
        lengths = (0, 3, 4, 5, 8, 9, 12) if name == "uncased" else (0, 5)
        out.append(
            entry(
                name + ", tokenizer.json", {"tokenizer.json": tokenizer.to_str()}, tokenizer, lengths=lengths
            )
        )
    tokenizer = tokenizer_json(True, added=added)
    out.append(
        entry("added tokens, tokenizer.json", {"tokenizer.json": tokenizer.to_str()}, tokenizer, added_texts)
    )
    for name, config in [
        ("uncased", {}),
        ("cased", {"do_lower_case": False}),
        ("accents kept", {"strip_accents": False}),
        ("ideographs kept", {"tokenize_chinese_chars": False}),
    ]:
        out.append(
            entry(name + ", vocab.txt", *from_vocab_txt(config, plain), TEXTS if name == "uncased" else few)
        )
    out.append(entry("dirty vocab.txt", *from_vocab_txt({}, dirty), TEXTS[:8]))
    config = {
        "mask_token": {
            "__type": "AddedToken",
            "content": "[MASK]",
            "lstrip": True,
            "rstrip": False,
            "normalized": False,
            "single_word": False,
        }
    }
    out.append(
        entry("mask strips, vocab.txt", *from_vocab_txt(config, plain), ["the [MASK] the", "the   [MASK]."])
    )
    out.append(
        entry(
            "mask not in vocab.txt", *from_vocab_txt({}, plain.replace("[MASK]\n", "")), ["the [MASK] the"]
        )
    )
    document = {
        "reference": f"tokenizers {tokenizers.__version__}, transformers {transformers.__version__}",
        "tokenizers": out,
    }
    root = pathlib.Path(__file__).resolve().parents[1]
    (root / "fixtures/tokenizers/wordpiece_golden.json").write_text(
        json.dumps(document, separators=(",", ":")).replace('{"text"', '\n{"text"') + "\n"
    )


if __name__ == "__main__":
    main()
