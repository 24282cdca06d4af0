"""Seconds per epoch and peak memory of iTransformer and TimeXer on ETTh1: `zoo train` beside the authors' PyTorch code.

The two programs take turns, a process each, on the same work: windows of 96 hours forecast the next 96 of all seven columns,
batches of 32, Adam, mean squared error, the networks' settings of the authors' scripts. The authors' networks are imported
from clones of github.com/thuml/iTransformer and github.com/thuml/TimeXer; around them is a plain loop that cuts the windows
from one array in memory. An epoch is what both call so: all training windows once, without validation.

    python tests/bench/time_series_epoch.py --itransformer FOLDER --timexer FOLDER --data ETTh1.csv [--zoo build/zoo] [--rounds 3]

The folders, the data and the program can also come from ITRANSFORMER, TIMEXER, ETTH1 and ZOO in the environment.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TRAIN_ROWS = 12 * 30 * 24  # the authors' border: twelve months of thirty days
NETWORKS = {"itransformer": {"d_model": 256, "d_ff": 256, "e_layers": 2, "module": "model.iTransformer"},
            "timexer": {"d_model": 256, "d_ff": 2048, "e_layers": 1, "module": "models.TimeXer"}}


# ---- the authors' network, in a process of its own ----

def windows(path):
    import pandas
    import torch
    from torch.utils.data import Dataset

    table = pandas.read_csv(path)
    values = table.iloc[:TRAIN_ROWS, 1:].to_numpy("float32")
    values = (values - values.mean(0)) / values.std(0)
    dates = pandas.to_datetime(table.iloc[:TRAIN_ROWS, 0]).dt
    calendar = torch.tensor([list(dates.hour / 23 - 0.5), list(dates.day_of_week / 6 - 0.5), list((dates.day - 1) / 30 - 0.5),
                             list((dates.day_of_year - 1) / 365 - 0.5)]).T.float().contiguous()
    values = torch.from_numpy(values)

    class Windows(Dataset):
        def __len__(self):
            return len(values) - 192 + 1

        def __getitem__(self, i):
            return values[i:i + 96], values[i + 96:i + 192], calendar[i:i + 96], calendar[i + 96:i + 192]

    return Windows()


def train_reference(options):
    import importlib

    import torch
    from torch.utils.data import DataLoader

    sys.path.insert(0, options.folder)
    sys.modules.setdefault("reformer_pytorch", types.SimpleNamespace(LSHSelfAttention=None))  # imported there, not used
    sizes = dict(NETWORKS[options.network])
    module = importlib.import_module(sizes.pop("module"))
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    config = types.SimpleNamespace(task_name="long_term_forecast", features="M", seq_len=96, label_len=48, pred_len=96, enc_in=7, patch_len=16, n_heads=8,
                                   dropout=0.1, activation="gelu", use_norm=1, output_attention=False, embed="timeF", freq="h", factor=3,
                                   class_strategy="projection", **sizes)
    model = module.Model(config).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    loader = DataLoader(windows(options.data), batch_size=options.batch_size, shuffle=True)
    epochs = []
    for _ in range(options.epochs):
        start = time.perf_counter()
        total = 0.0
        for x, y, x_mark, y_mark in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(x, x_mark, torch.zeros_like(y), y_mark), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        epochs.append({"seconds": time.perf_counter() - start, "train_loss": total / len(loader)})
    print(json.dumps({"epochs": epochs, "version": torch.__version__}))


# ---- both, by turns ----

def run(command, threads):
    """Standard output and the peak resident memory in MiB of a process."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {process.returncode}")
    return out, usage.ru_maxrss / 1024


def reference(options, network):
    command = [sys.executable, __file__, "--worker", "--network", network, "--folder", getattr(options, network), "--data", options.data,
               "--threads", str(options.threads), "--epochs", str(options.epochs), "--batch-size", str(options.batch_size)]
    out, memory = run(command, options.threads)
    result = json.loads(out.splitlines()[-1])
    return {**result, "memory": memory}


def zoo(options, network):
    with tempfile.TemporaryDirectory() as folder:
        command = [options.zoo, "train", ROOT / "recipes" / f"{network}_etth1_96.json", "--set", f"data.path={options.data}", "--set", f"epochs={options.epochs}",
                   "--set", f"batch_size={options.batch_size}", "--threads", str(options.threads), "--out", f"{folder}/run"]
        _, memory = run([str(word) for word in command], options.threads)
        lines = [json.loads(line) for line in Path(f"{folder}/run/log.jsonl").read_text().splitlines()]
    return {"epochs": [line for line in lines if "train_loss" in line and "step" in line], "memory": memory}


def compare(options, network):
    sides = {"PyTorch, authors' code": [], "zoo": []}
    for number in range(options.rounds):
        sides["PyTorch, authors' code"].append(reference(options, network))
        sides["zoo"].append(zoo(options, network))
        print(f"  {network}, round {number + 1}: " + ", ".join(f"{name} {min(e['seconds'] for e in runs[-1]['epochs']):.2f} s" for name, runs in sides.items()),
              file=sys.stderr)
    result = {}
    for name, runs in sides.items():
        seconds = [epoch["seconds"] for one in runs for epoch in one["epochs"]]
        result[name] = {"median_seconds": statistics.median(seconds), "fastest_seconds": min(seconds), "epochs": len(seconds),
                        "peak_mib": statistics.median(one["memory"] for one in runs), "last_train_loss": runs[-1]["epochs"][-1]["train_loss"]}
    result["ratio"] = result["PyTorch, authors' code"]["median_seconds"] / result["zoo"]["median_seconds"]
    result["torch"] = sides["PyTorch, authors' code"][0]["version"]
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--itransformer", default=os.environ.get("ITRANSFORMER"))
    parser.add_argument("--timexer", default=os.environ.get("TIMEXER"))
    parser.add_argument("--data", default=os.environ.get("ETTH1"), help="ETTh1.csv")
    parser.add_argument("--zoo", default=os.environ.get("ZOO", str(ROOT / "build" / "zoo")))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=2, help="of each process")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each program")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--network", choices=list(NETWORKS), help="only this one")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.data:
        parser.error("--data is missing: the file ETTh1.csv")
    if options.worker:
        return train_reference(options)
    about = json.loads(run([options.zoo, "doctor", "--json"], options.threads)[0])
    for network in [options.network] if options.network else list(NETWORKS):
        if not getattr(options, network):
            parser.error(f"--{network} is missing: the folder of the authors' code")
        result = compare(options, network)
        print(json.dumps({"network": network, "threads": options.threads, "batch_size": options.batch_size, **result, "doctor": about}))


if __name__ == "__main__":
    main()
