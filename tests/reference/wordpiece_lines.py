"""Writes tests/fixtures/tokenizers/wordpiece_lines.json: for each text file, a hash of the ids of all its lines.

The hash is FNV-1a (64 bits) over every id as 4 bytes, little-endian, in order; lines end at "\\n" alone.
    python tests/reference/wordpiece_lines.py MINILM_FOLDER TEXT_FOLDER
"""

import gzip
import json
import pathlib
import struct
import sys

import tokenizers
import transformers


def fnv1a64(data, h=0xCBF29CE484222325):
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def lines(path):
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return data.decode("utf-8", "replace").removesuffix("\n").split("\n")


def hashes(tokenizer, folder):
    out = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        text = lines(path)
        ids = [e.ids for e in tokenizer.encode_batch(text)]
        out[path.relative_to(folder).as_posix()] = {
            "lines": len(text),
            "tokens": sum(map(len, ids)),
            "hash": f"{fnv1a64(b''.join(struct.pack(f'<{len(i)}I', *i) for i in ids)):016x}",
        }
    return out


def main():
    model, folder = map(pathlib.Path, sys.argv[1:3])
    document = {"reference": f"tokenizers {tokenizers.__version__}, transformers {transformers.__version__}"}
    for name, lowercase in (("uncased", True), ("cased", False)):
        tokenizer = transformers.BertTokenizerFast(
            vocab=str(model / "vocab.txt"), do_lower_case=lowercase
        ).backend_tokenizer
        tokenizer.no_truncation(), tokenizer.no_padding()
        document[name] = hashes(tokenizer, folder)
    root = pathlib.Path(__file__).resolve().parents[1]
    (root / "fixtures/tokenizers/wordpiece_lines.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
