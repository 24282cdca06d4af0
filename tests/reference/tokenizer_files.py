"""Writes tests/fixtures/tokenizers/files.json: checksums of what the reference tokenizers make of whole text files.

For each tokenizer and each block of 256 lines a CRC-32 over every line's ids (4 bytes each, little-endian), offsets
(characters, begin and end, 4 bytes each) and decoded text. Lines end at "\\n" alone; malformed UTF-8 is replaced as Python
does. The data folder holds text/, code/ and tokenizers/ (CodeT5's vocab and merges, two SentencePiece models).
    python tests/reference/tokenizer_files.py DATA_FOLDER
With --show it instead prints the lines on which `zoo run --task tokenize` differs:
    python tests/reference/tokenizer_files.py DATA_FOLDER --show ZOO_PROGRAM [--only NAME]
"""

import argparse
import array
import gzip
import json
import pathlib
import shutil
import subprocess
import tempfile
import zlib

import sentencepiece
import tokenizers
import transformers

BLOCK = 256
ROOT = pathlib.Path(__file__).resolve().parents[1]
UNILM, CHARACTERS = "tokenizers/unilm3-cased.spm.model", "tokenizers/char_st_en_de.spm.model"
CODET5 = {"vocab.json": "tokenizers/codet5-vocab.json", "merges.txt": "tokenizers/codet5-merges.txt"}
# name -> files of the folder (from the data folder), tokenizer_config.json, which data files
TOKENIZERS = {
    "roberta": (CODET5, {"tokenizer_class": "RobertaTokenizer"}, ""),
    "roberta prefix": (CODET5, {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True}, "text"),
    "gpt2": (CODET5, {"tokenizer_class": "GPT2Tokenizer"}, "text"),
    "t5": ({"spiece.model": UNILM}, {"tokenizer_class": "T5Tokenizer"}, ""),
    "xlm-roberta": ({"sentencepiece.bpe.model": UNILM}, {"tokenizer_class": "XLMRobertaTokenizer"}, "text"),
    "mbart": ({"sentencepiece.bpe.model": UNILM}, {"tokenizer_class": "MBartTokenizer", "src_lang": "de_DE"}, "text"),
    "sentencepiece": ({"spm.model": UNILM}, {}, ""),
    "characters": ({"spm.model": CHARACTERS}, {}, "text"),
}


def lines(data):
    return data.decode("utf-8", "replace").removesuffix("\n").split("\n")


def long_line():
    """A megabyte without a space: letters, digits, accents and symbols by a fixed rule."""
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789_.,;(){}éüß漢字😀"
    x, out = 1, []
    while len(out) < 1 << 20:
        x = (x * 1103515245 + 12345) & 0x7FFFFFFF
        out.append(alphabet[(x >> 16) % len(alphabet)])
    return "".join(out)


def sources(data, under):
    out = {}
    for folder in ("text", "code"):
        for path in sorted(p for p in (data / folder).rglob("*") if p.is_file()):
            name = path.relative_to(data).as_posix()
            if name.startswith(under):
                content = path.read_bytes()
                out[name] = lines(gzip.decompress(content) if path.suffix == ".gz" else content)
    out["torture"] = lines((ROOT / "fixtures/tokenizers/torture.txt").read_bytes())
    return out


class Fast:
    def __init__(self, folder, config):
        self.backend = getattr(transformers, config["tokenizer_class"]).from_pretrained(folder).backend_tokenizer
        self.backend.no_truncation(), self.backend.no_padding()

    def encode(self, texts):
        return [(e.ids, e.offsets) for e in self.backend.encode_batch(texts)]

    def decode(self, ids):
        return self.backend.decode_batch(ids)


class Plain:
    def __init__(self, folder, config):
        self.model = sentencepiece.SentencePieceProcessor(model_file=str(pathlib.Path(folder, "spm.model")))

    def encode(self, texts):
        out = []
        for text in texts:
            pieces = self.model.encode(text, return_type="proto").pieces
            place = [i for i, c in enumerate(text) for _ in c.encode()] + [len(text)]  # its offsets count bytes
            out.append(([p.id for p in pieces], [(place[p.begin], place[p.end]) for p in pieces]))
        return out

    def decode(self, ids):
        return [self.model.decode(i) for i in ids]


def checksum(encoded, decoded):
    crc = 0
    for (ids, offsets), text in zip(encoded, decoded):
        flat = [x for pair in offsets for x in pair]
        crc = zlib.crc32(array.array("I", ids).tobytes() + array.array("I", flat).tobytes() + text.encode(), crc)
    return crc


def folder_of(data, files, config, folder):
    for name, source in files.items():
        shutil.copy(data / source, pathlib.Path(folder, name))
    if config:
        pathlib.Path(folder, "tokenizer_config.json").write_text(json.dumps(config))


def written(data):
    document = {
        "reference": f"tokenizers {tokenizers.__version__}, transformers {transformers.__version__}, "
        f"sentencepiece {sentencepiece.__version__}",
        "block": BLOCK,
        "tokenizers": [],
    }
    for name, (files, config, under) in TOKENIZERS.items():
        with tempfile.TemporaryDirectory() as folder:
            folder_of(data, files, config, folder)
            tokenizer = (Fast if config else Plain)(folder, config)
            sums = {}
            for source, text in sources(data, under).items():
                blocks = [text[i : i + BLOCK] for i in range(0, len(text), BLOCK)]
                encoded = [tokenizer.encode(b) for b in blocks]
                sums[source] = [checksum(e, tokenizer.decode([ids for ids, _ in e])) for e in encoded]
            encoded = tokenizer.encode([long_line()])
            sums["long line"] = [checksum(encoded, tokenizer.decode([encoded[0][0]]))]
        document["tokenizers"].append({"name": name, "files": files, "config": config, "sums": sums})
        print(name, sum(map(len, sums.values())), "blocks")
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (ROOT / "fixtures/tokenizers/files.json").write_text(text + "\n")


def shown(data, program, only):
    for name, (files, config, under) in TOKENIZERS.items():
        if only and name != only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            folder_of(data, files, config, folder)
            tokenizer = (Fast if config else Plain)(folder, config)
            for source, text in sources(data, under).items():
                path = pathlib.Path(folder, "input.txt")
                path.write_text("\n".join(text) + "\n", newline="")
                command = [program, "run", folder, "--task", "tokenize", "--input", str(path), "--json"]
                ours = subprocess.run(command, capture_output=True, check=True).stdout.decode().splitlines()
                for i, ((ids, offsets), line) in enumerate(zip(tokenizer.encode(text), ours)):
                    got = json.loads(line)
                    spots = [[len(text[i][:b].encode()), len(text[i][:e].encode())] for b, e in offsets]
                    if got["ids"] != ids or got["offsets"] != spots:
                        print(name, source, i + 1, repr(text[i][:200]), "\n ", ids[:40], spots[:40], "\n ", line[:600])


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("data", type=pathlib.Path)
    arguments.add_argument("--show")
    arguments.add_argument("--only")
    options = arguments.parse_args()
    shown(options.data, options.show, options.only) if options.show else written(options.data)


if __name__ == "__main__":
    main()
