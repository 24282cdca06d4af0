"""Speed of zoo beside transformers, ONNX Runtime, OpenVINO and CTranslate2: the same weights, the same inputs, in turns.

Every contender is a process of its own that keeps its network; a round asks each once. The first round is not counted. What a work
gave is kept in FOLDER/results, so that an interrupted run goes on; --fresh measures again. The page and a JSON beside it are made
from all results that are there.

    python main.py --zoo build/zoo --folder build/peers --out docs/results/speed.md --minilm ~/.cache/zoo/minilm --sts-b sts_b/test.csv
"""
import argparse
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
import safetensors.numpy

import checkpoints
import report
import works as work_list

HERE = pathlib.Path(__file__).parent


# Threads that wait for work spin a little before they sleep: nobody shall run beside another's.
PAUSE = 0.05
# Short works are repeated within a turn, so that nobody is measured just after another emptied the caches; the median counts.
LEAST_SECONDS = 0.3


class Contender:
    """A process that answers one request a line."""

    def __init__(self, peer, dtype, folder, args, training):
        self.peer, self.dtype = peer, dtype
        self.name = peer if dtype == "float32" else f"{peer} {dtype}"
        if peer == "zoo":
            command = [args.zoo, "bench", str(folder), "--serve", "--device", "cpu", "--dtype", dtype, "--threads", str(args.threads)]
            command += ["--mode", "training"] if training else []
        else:
            command = [sys.executable, str(HERE / "contender.py"), peer, str(folder), "--dtype", dtype, "--threads", str(args.threads)]
            command += ["--training"] if training else []
        environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "TOKENIZERS_PARALLELISM": "true", "HF_HUB_OFFLINE": "1",
                       "RAYON_NUM_THREADS": str(args.threads)}
        log = open(args.folder / "contenders.log", "a")
        start = time.perf_counter()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        self.ready = self.read()
        self.start_seconds = time.perf_counter() - start

    def read(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": f"{self.name} ended (see contenders.log)"}

    def ask(self, request):
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return {"error": f"{self.name} ended (see contenders.log)"}
        return self.read()

    def close(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:  # it ended before it was asked to
            pass
        self.process.wait()


def contenders_of(work, args):
    return [(peer, dtype) for peer, dtype in work.contenders if not args.peers or peer in args.peers]


def prepare(work, args):
    """Everything that a contender reads is there before any clock runs."""
    folder = checkpoints.checkpoint(args.folder / "models", work.network, args.minilm)
    for peer, dtype in contenders_of(work, args):
        if peer in ("onnxruntime", "openvino"):
            checkpoints.onnx_file(folder, dtype == "int8")
        if peer == "ctranslate2":
            checkpoints.ct2_folder(folder)
    return folder


def result_of(file):
    return next(v for k, v in safetensors.numpy.load_file(file).items() if k in ("y", "hidden", "logits", "forecast", "vectors", "ids"))


def agreement(work, mine, other):
    """Numbers: the largest difference to zoo float32, of pictures also the classes that stay the likeliest. Ids: the share that is equal."""
    a, b = result_of(mine), result_of(other)
    if a.dtype == np.int64:
        width = min(a.shape[1], b.shape[1])
        return {"equal_ids": float((a[:, :width] == b[:, :width]).mean()), "lengths": [a.shape[1], b.shape[1]]}
    found = {"max_difference": float(np.abs(a.astype(np.float64) - b).max())}
    if "image" in (work.inputs or {}):
        found["same_class"] = [int((a.argmax(-1) == b.argmax(-1)).sum()), len(a)]
    return found


def ranks(values):
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]  # equal values share the middle of their ranks


def spearman(file, scores):
    """Of the cosines of the pairs (vectors have length 1) and the scores that people gave."""
    vectors = result_of(file).astype(np.float64)
    cosines = (vectors[:len(scores)] * vectors[len(scores):]).sum(1)
    return float(np.corrcoef(ranks(cosines), ranks(scores))[0, 1])


def measure(work, args):
    folder = prepare(work, args)
    request = work.write_inputs(args.folder)
    training = bool(work.request.get("train"))
    contenders = [Contender(peer, dtype, folder, args, training) for peer, dtype in contenders_of(work, args)]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    record = {"work": work.name, "zoo_commit": commit, "threads": args.threads, "contenders": {}}
    times = {c.name: [] for c in contenders}
    errors, last, turn, longest = {}, {}, 0, 0.0

    def saved(name):
        return str(args.folder / f"out.{name.replace(' ', '_')}.safetensors")

    begin = time.perf_counter()
    # One round counts whatever it takes; another only where it fits into the work's share of time.
    while turn < 2 or (turn <= args.rounds and time.perf_counter() - begin + longest <= args.budget):
        round_begin = time.perf_counter()
        for c in contenders:
            if c.name in errors:
                continue
            time.sleep(PAUSE)
            reply = c.ask({**request, "save": saved(c.name)} if turn == 0 and not training else {**request, "least_seconds": LEAST_SECONDS})
            if "error" in reply:
                errors[c.name] = reply["error"]
                continue
            last[c.name] = reply
            if turn > 0:
                times[c.name].append(reply["seconds"])
        longest = max(longest, time.perf_counter() - round_begin)
        turn += 1
    record["rounds"] = turn - 1
    first = contenders[0].name
    for c in contenders:
        c.close()
        if c.name in errors:
            record["contenders"][c.name] = {"error": errors[c.name]}
            continue
        own = times[c.name]
        entry = {"median": statistics.median(own), "fastest": min(own), "slowest": max(own), "seconds": own, "peak_bytes": last[c.name]["peak_bytes"], "start_seconds": c.start_seconds,
                 # of each round, as the machine is never twice in the same mood
                 "ratio": statistics.median(theirs / mine for theirs, mine in zip(own, times[first])) if times[first] else None}
        if c.name != first and not training and first in last:
            entry["agreement"] = agreement(work, saved(first), saved(c.name))
        if work.scores is not None:
            entry["spearman"] = spearman(saved(c.name), work.scores)
        record["contenders"][c.name] = entry
    return record


def wall_seconds(command, args):
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "HF_HUB_OFFLINE": "1"}
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - start


COLD = """
import sys, torch, transformers
torch.set_num_threads(int(sys.argv[2]))
t = transformers.AutoTokenizer.from_pretrained(sys.argv[1]); m = transformers.AutoModel.from_pretrained(sys.argv[1])
with torch.inference_mode(): print(m(**t("a sentence", return_tensors="pt"))[0].mean(1)[0, :3])
"""


BARE = "#include <torch/torch.h>\nint main() { return torch::zeros({1}).numel() == 1 ? 0 : 1; }\n"


def bare_program(folder):
    """A program that does nothing but load LibTorch: what zoo's commands can't be faster than."""
    program, torch = folder / "bare", pathlib.Path(importlib.util.find_spec("torch").origin).parent
    if not program.exists():
        (folder / "bare.cpp").write_text(BARE)
        subprocess.run(["c++", "-std=c++20", f"-I{torch}/include", f"-I{torch}/include/torch/csrc/api/include", str(folder / "bare.cpp"), "-o", str(program),
                        f"-L{torch}/lib", "-ltorch", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{torch}/lib"], check=True)
    return program


def measure_start(args):
    """From the start of the process to the end of the first answer; and the listing of networks, beside loading LibTorch alone."""
    folder = checkpoints.checkpoint(args.folder / "models", "minilm", args.minilm)
    jobs = {"zoo run, first answer": [args.zoo, "run", str(folder), "--task", "embedding", "--input", "a sentence", "--json", "--threads", str(args.threads)],
            "transformers, first answer": [sys.executable, "-c", COLD, str(folder), str(args.threads)], "zoo list": [args.zoo, "list"],
            "zoo --help": [args.zoo, "--help"], "loading LibTorch alone": [str(bare_program(args.folder))]}
    times = {name: [] for name in jobs}
    for turn in range(args.rounds + 1):
        for name, command in jobs.items():
            seconds = wall_seconds(command, args)
            if turn:
                times[name].append(seconds)
    return {"start": {name: {"median": statistics.median(t), "seconds": t} for name, t in times.items()}}


def measure_load(args):
    """A 1.34 GB checkpoint: reading the file into one small buffer over and over, into memory of its own, and from the start of a process until the network stands ready."""
    folder = checkpoints.checkpoint(args.folder / "models", "bert-large", args.minilm)
    file = folder / "model.safetensors"
    times, peaks = {"read": [], "reading it into memory of its own": [], "loading LibTorch alone": [], "zoo": [], "transformers": []}, {}
    for turn in range(args.rounds + 1):
        start = time.perf_counter()
        with open(file, "rb") as handle:
            while handle.read(1 << 24):
                pass
        times["read"].append(time.perf_counter() - start)
        start = time.perf_counter()
        file.read_bytes()  # a machine that must first find 1.34 GB of memory shows here
        times["reading it into memory of its own"].append(time.perf_counter() - start)
        times["loading LibTorch alone"].append(wall_seconds([str(bare_program(args.folder))], args))
        for peer in ("zoo", "transformers"):
            c = Contender(peer, "float32", folder, args, False)
            times[peer].append(c.start_seconds)
            peaks[peer] = c.ready.get("peak_bytes")
            c.close()
    return {"load": {"bytes": file.stat().st_size, "seconds": {k: statistics.median(v[1:]) for k, v in times.items()}, "peak_bytes": peaks}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", default="build/zoo")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("build/peers"))
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs/results/speed.md"))
    parser.add_argument("--minilm", help="folder of all-MiniLM-L6-v2 (tools/fetch_minilm.sh); without it the works on sentences are left out")
    parser.add_argument("--sts-b", help="STS-B's test.csv: sentence, sentence, score")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--budget", type=float, default=180.0, help="seconds of a work after which no further round begins")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="", help="works whose name holds this text")
    parser.add_argument("--peers", nargs="*", help="only these, for example: zoo ctranslate2")
    parser.add_argument("--quick", action="store_true", help="without the long works")
    parser.add_argument("--fresh", action="store_true", help="measure again what has been measured")
    parser.add_argument("--list", action="store_true", help="name the works and stop")
    args = parser.parse_args()
    args.zoo = str(pathlib.Path(args.zoo).resolve())
    results = args.folder / "results"
    results.mkdir(parents=True, exist_ok=True)
    if not (args.minilm and args.sts_b):
        print("skipped, without --minilm and --sts-b: the works on sentences" + ("" if args.minilm else " and the start of the process"))
    jobs = [(w.name, lambda w=w: measure(w, args), w.heavy) for w in work_list.all_works(args.sts_b if args.minilm else None)]
    if args.minilm:
        jobs.append(("start-up", lambda: measure_start(args), False))
    jobs.append(("load 1.3 GB", lambda: measure_load(args), True))
    for name, job, heavy in jobs:
        file = results / (name.replace(" ", "_").replace("/", "-") + ".json")
        if args.only.lower() not in name.lower() or (heavy and args.quick):
            continue
        if args.list:
            print(name)
            continue
        if file.exists() and not args.fresh:
            print(f"{name}: measured before")
            continue
        print(f"{name} ...", flush=True)
        record = job()
        written = file.with_suffix(".writing")
        written.write_text(json.dumps(record, indent=1))
        written.rename(file)  # an interruption leaves no half of a result
        print(report.line_of(record), flush=True)
    if not args.list:
        report.write(args.out, [json.loads((results / (n.replace(" ", "_").replace("/", "-") + ".json")).read_text()) for n, _, _ in jobs
                                if (results / (n.replace(" ", "_").replace("/", "-") + ".json")).exists()], args)


if __name__ == "__main__":
    main()
