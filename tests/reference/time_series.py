"""What the fixtures of the forecasting networks share: the reference folder, its commit, and the options its code reads."""
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch

from fill import inputs


def reference(argument=1):
    """The folder named on the command line, put first on the import path."""
    if len(sys.argv) <= argument:
        sys.exit(f"usage: python {sys.argv[0]} FOLDER_OF_THE_REFERENCE")
    folder = Path(sys.argv[argument]).resolve()
    sys.path.insert(0, str(folder))
    # Attention kinds that are imported and not used here need a package that few have.
    stub = ModuleType("reformer_pytorch")
    stub.LSHSelfAttention = None
    sys.modules.setdefault("reformer_pytorch", stub)
    return folder


def commit(folder):
    if (folder / "COMMIT.txt").exists():
        return (folder / "COMMIT.txt").read_text().strip()
    return subprocess.check_output(["git", "-C", str(folder), "rev-parse", "HEAD"], text=True).strip()


def options(config, **more):
    """The reference's argument object: the config and what its constructor reads besides."""
    known = dict(task_name="long_term_forecast", output_attention=False, embed="timeF", freq="h", factor=1, class_strategy="projection",
                 features="M", activation="gelu", use_norm=True, dropout=0.1)
    return SimpleNamespace(**{**known, **config, **more})


def windows(config, time_features=4, batch=2):
    """Deterministic inputs; the series have other means and scales, so that normalisation has work to do."""
    channels = config["enc_in"]
    series = inputs("series", (batch, config["seq_len"], channels), 0)
    series = series * torch.arange(1, channels + 1) * 0.5 + torch.arange(channels) * 0.3
    given = {"series": series}
    if time_features:
        given["series_time"] = inputs("series_time", (batch, config["seq_len"], time_features), 0, -0.5, 0.5)
        given["future_time"] = inputs("future_time", (batch, config["pred_len"], time_features), 0, -0.5, 0.5)
    targets = 1 if config.get("features") == "MS" else channels
    given["target"] = inputs("target", (batch, config["pred_len"], targets), 0)
    return given
