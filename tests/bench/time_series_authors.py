"""Trains the authors' PyTorch networks with the settings of our recipes, several seeds each: what the reference reaches where a published figure is missed.

    python tests/bench/time_series_authors.py --recipe itransformer_etth1_720 --code FOLDER --data ETTh1.csv [--seeds 1,2,3] [--device cuda] [--dropped]

FOLDER is a clone of github.com/thuml/iTransformer, github.com/thuml/TimeXer or github.com/zhouhaoyi/Informer2020, from which the network alone is imported. The
loop around it is that of their exp_*.py: Adam, halved each epoch after the second, patience 3, the epoch with the best validation error is
tested. `--dropped` leaves out the last partial batch of each part, as iTransformer and Informer do. Needs PyTorch and NumPy only.
One JSON line a seed.
"""
import argparse
import copy
import csv
import datetime
import importlib
import json
import sys
import time
import types
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent.parent
BORDERS = [0, 8640, 11520, 14400]  # 12, 4 and 4 months of thirty days


def table(path):
    """Scaled columns and the four calendar features of an hourly file, [rows, 7] and [rows, 4]."""
    with open(path, encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    values = torch.tensor([[float(cell) for cell in row[1:]] for row in rows])
    train = values[:BORDERS[1]]
    values = (values - train.mean(0)) / train.std(0, correction=0)
    dates = [datetime.datetime.fromisoformat(row[0]) for row in rows]
    calendar = torch.tensor([[d.hour / 23 - 0.5, d.weekday() / 6 - 0.5, (d.day - 1) / 30 - 0.5, (d.timetuple().tm_yday - 1) / 365 - 0.5] for d in dates])
    return values, calendar


def windows(part, lookback, horizon):
    """First rows of the windows of a part; validation and test may look back before their border."""
    begin = BORDERS[part] - (lookback if part else 0)
    return torch.arange(begin, BORDERS[part + 1] - lookback - horizon + 1)


def build(kind, recipe, columns):
    config, data = recipe["config"], recipe["data"]
    sys.modules.setdefault("reformer_pytorch", types.SimpleNamespace(LSHSelfAttention=None))  # imported there, not used
    sys.modules.setdefault("einops", types.SimpleNamespace(rearrange=None, repeat=None))
    if kind == "informer":
        module = importlib.import_module("models.model")
        return module.Informer(columns, columns, columns, data["lookback"], data["start"], data["horizon"], embed="timeF", **config,
                               device=torch.device("cpu"))
    sizes = types.SimpleNamespace(task_name="long_term_forecast", features="M", seq_len=data["lookback"], label_len=48, pred_len=data["horizon"], enc_in=columns,
                                  patch_len=16, n_heads=8, activation="gelu", use_norm=1, output_attention=False, embed="timeF", freq="h", factor=3,
                                  class_strategy="projection", dropout=0.1)
    vars(sizes).update(config)
    module = importlib.import_module("model.iTransformer" if kind == "itransformer" else "models.TimeXer")
    return module.Model(sizes)


class Experiment:
    def __init__(self, options, recipe, kind, seed):
        self.options, self.recipe, self.kind = options, recipe, kind
        self.values, self.calendar = (x.to(options.device) for x in table(options.data))
        self.lookback, self.horizon = recipe["data"]["lookback"], recipe["data"]["horizon"]
        self.start = recipe["data"].get("start", 48)
        torch.manual_seed(seed)
        self.model = build(kind, recipe, self.values.size(1)).to(options.device)

    def batches(self, part, shuffle):
        rows = windows(part, self.lookback, self.horizon)
        if shuffle:
            rows = rows[torch.randperm(len(rows))]
        chunks = rows.split(self.recipe["batch_size"])
        return chunks[:-1] if self.options.dropped and len(chunks[-1]) < self.recipe["batch_size"] else chunks

    def errors(self, rows):
        past = rows.unsqueeze(1) + torch.arange(self.lookback)
        future = rows.unsqueeze(1) + self.lookback + torch.arange(-self.start, self.horizon)
        past, future = past.to(self.options.device), future.to(self.options.device)
        known = self.values[future].clone()
        known[:, self.start:] = 0
        out = self.model(self.values[past], self.calendar[past], known, self.calendar[future])
        return out[:, -self.horizon:] - self.values[future[:, self.start:]]

    @torch.no_grad()
    def evaluate(self, part):
        self.model.eval()
        square, absolute, count = 0.0, 0.0, 0
        for rows in self.batches(part, False):
            error = self.errors(rows).double()
            square, absolute, count = square + error.square().sum().item(), absolute + error.abs().sum().item(), count + error.numel()
        self.model.train()
        return square / count, absolute / count

    def train(self):
        optimizer = torch.optim.Adam(self.model.parameters(), lr=self.recipe["optimizer"]["lr"])
        best, kept, waited, history = float("inf"), None, 0, []
        for epoch in range(self.recipe["epochs"]):
            for rows in self.batches(0, True):
                optimizer.zero_grad()
                self.errors(rows).square().mean().backward()
                optimizer.step()
            validation = self.evaluate(1)[0]
            history.append(validation)
            if validation < best:
                best, kept, waited = validation, (epoch + 1, copy.deepcopy(self.model.state_dict())), 0
            else:
                waited += 1
                if waited >= self.recipe["early_stopping"]["patience"]:
                    break
            optimizer.param_groups[0]["lr"] = self.recipe["optimizer"]["lr"] * 0.5 ** epoch
        self.model.load_state_dict(kept[1])
        mse, mae = self.evaluate(2)
        return {"mse": mse, "mae": mae, "best_epoch": kept[0], "validation": history}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", required=True, help="a name of recipes/ for ETTh1")
    parser.add_argument("--code", required=True, help="the authors' code")
    parser.add_argument("--data", required=True, help="ETTh1.csv")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dropped", action="store_true", help="leave out the last partial batches")
    parser.add_argument("--epochs", type=int, help="fewer than the recipe says")
    options = parser.parse_args()
    recipe = json.loads((ROOT / "recipes" / f"{options.recipe}.json").read_text())
    recipe["epochs"] = options.epochs or recipe["epochs"]
    sys.path.insert(0, options.code)
    for seed in options.seeds.split(","):
        start = time.perf_counter()
        result = Experiment(options, recipe, options.recipe.split("_")[0], int(seed)).train()
        print(json.dumps({"recipe": options.recipe, "seed": int(seed), **result, "seconds": round(time.perf_counter() - start, 1), "torch": torch.__version__}), flush=True)


if __name__ == "__main__":
    main()
