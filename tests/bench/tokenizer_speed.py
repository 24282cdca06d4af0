"""Speed of the tokenizers beside Hugging Face's Rust library, both on the same number of threads, in one run.

Builds tests/bench/tokenizer_speed.cpp against the built library, then for each tokenizer and file takes the best of five
passes: all lines as one batch (on THREADS threads), and line by line (one thread).
    python tests/bench/tokenizer_speed.py BUILD_FOLDER DATA_FOLDER [THREADS]
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

THREADS = sys.argv[3] if len(sys.argv) > 3 else "2"
os.environ["RAYON_NUM_THREADS"] = THREADS
os.environ["TOKENIZERS_PARALLELISM"] = "true"

import transformers  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
CODET5 = {"vocab.json": "tokenizers/codet5-vocab.json", "merges.txt": "tokenizers/codet5-merges.txt"}
UNILM = "tokenizers/unilm3-cased.spm.model"
CASES = [
    ("CodeT5 (byte-level BPE)", CODET5, "RobertaTokenizer", "code/java_csharp/train.java-cs.txt.java"),
    ("CodeT5 (byte-level BPE)", CODET5, "RobertaTokenizer", "text/tinyshakespeare.txt"),
    ("T5 (Unigram)", {"spiece.model": UNILM}, "T5Tokenizer", "text/tinyshakespeare.txt"),
    ("XLM-R (Unigram)", {"sentencepiece.bpe.model": UNILM}, "XLMRobertaTokenizer", "text/sst2/train.tsv"),
]


def best_of(rounds, work):
    best = 1e30
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def build(library, folder):
    program = str(pathlib.Path(folder, "tokenizer_speed"))
    source = str(ROOT / "tests/bench/tokenizer_speed.cpp")
    links = ["-lutf8proc", "-lpcre2-8", "-lpthread"]
    subprocess.run(["g++", "-std=c++20", "-O2", f"-I{ROOT}", source, library, "-o", program] + links, check=True)
    return program


def main():
    library, data = str(pathlib.Path(sys.argv[1], "libzoo_tokenizers.a")), pathlib.Path(sys.argv[2])
    print(f"| tokenizer | file | threads | batch, ours MB/s | batch, reference | ratio | single, ours MB/s | reference | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as build_folder:
        program = build(library, build_folder)
        for name, files, kind, source in CASES:
            with tempfile.TemporaryDirectory() as folder:
                for target, origin in files.items():
                    shutil.copy(data / origin, pathlib.Path(folder, target))
                pathlib.Path(folder, "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))
                command = [program, folder, str(data / source), THREADS]
                ours = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
                backend = getattr(transformers, kind).from_pretrained(folder).backend_tokenizer
                backend.no_truncation(), backend.no_padding()
                content = (data / source).read_bytes()
                lines = content.decode("utf-8", "replace").removesuffix("\n").split("\n")
                tokens = sum(len(e.ids) for e in backend.encode_batch(lines))
                assert tokens == ours["tokens"], (tokens, ours)
                batch = best_of(5, lambda: backend.encode_batch(lines))
                single = best_of(5, lambda: [backend.encode(line) for line in lines])
                size = len(content) / 1e6
                print(
                    f"| {name} | {source} | {THREADS} | {size / ours['batch']:.1f} | {size / batch:.1f} | {batch / ours['batch']:.2f} "
                    f"| {size / ours['single']:.1f} | {size / single:.1f} | {single / ours['single']:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
