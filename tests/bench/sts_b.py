"""STS-B test set (1379 pairs) through all-MiniLM-L6-v2: seconds of zoo beside transformers and sentence-transformers.

The three take turns on one machine with the same number of threads; each is timed from the first text to the figures, without
loading the model. The transformers loop is the one most people write: batches of 64 in file order, padded, mean pooling.
sentence-transformers sorts by length itself. Needs: numpy, scipy, torch, transformers, sentence-transformers.

    python tests/bench/sts_b.py build/zoo ~/.cache/zoo/minilm sts_b/test.csv [--rounds 5] [--threads 2]
"""
import argparse
import csv
import json
import platform
import statistics
import subprocess
import time

import scipy.stats
import sentence_transformers
import torch
import transformers


def transformers_loop(model, tokenizer, sentences):
    vectors = []
    for begin in range(0, len(sentences), 64):
        batch = tokenizer(sentences[begin:begin + 64], padding=True, truncation=True, max_length=256, return_tensors="pt")
        hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1).float()
        pooled = (hidden * mask).sum(1) / mask.sum(1)
        vectors.append(torch.nn.functional.normalize(pooled, dim=1))
    return torch.cat(vectors)


def spearman_of(vectors, scores):
    half = len(scores)
    return scipy.stats.spearmanr((vectors[:half] * vectors[half:]).sum(1).numpy(), scores)[0]


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo")
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with open(args.data, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    sentences, scores = [r[0] for r in rows] + [r[1] for r in rows], [float(r[2]) for r in rows]
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
    model = transformers.AutoModel.from_pretrained(args.model).eval()
    encoder = sentence_transformers.SentenceTransformer(args.model, device="cpu")
    command = [args.zoo, "eval", args.model, "--task", "similarity", "--data", args.data, "--json", "--threads", str(args.threads)]

    def run_zoo():
        output = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return output["seconds"], output["metrics"]["spearman"]

    def run_transformers():
        seconds, vectors = timed(lambda: transformers_loop(model, tokenizer, sentences))
        return seconds, spearman_of(vectors, scores)

    def run_sentence_transformers():
        seconds, vectors = timed(lambda: encoder.encode(sentences, batch_size=64, convert_to_tensor=True, show_progress_bar=False))
        return seconds, spearman_of(vectors, scores)

    contenders = {"zoo": run_zoo, "transformers": run_transformers, "sentence-transformers": run_sentence_transformers}
    seconds, figures = {name: [] for name in contenders}, {}
    with torch.inference_mode():
        for _ in range(args.rounds):
            for name, contender in contenders.items():
                taken, figures[name] = contender()
                seconds[name].append(taken)
    print(json.dumps({
        "python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
        "sentence_transformers": sentence_transformers.__version__, "threads": args.threads, "rounds": args.rounds,
        "machine": platform.machine(), "pairs": len(scores),
        "results": {name: {"median_seconds": round(statistics.median(values), 3), "seconds": [round(v, 3) for v in values],
                           "spearman": float(figures[name])} for name, values in seconds.items()}}, indent=1))


if __name__ == "__main__":
    main()
