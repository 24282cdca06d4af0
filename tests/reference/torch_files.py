"""Write the small weight files that the tests of weights/ read: python tests/reference/torch_files.py

They come from torch.save and the safetensors package themselves, so the readers are checked against the writers that
people use. expected.safetensors holds what every plain_*.pth must read as.
"""
import argparse
import collections
import os
import pathlib

import numpy as np
import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).parent.parent / "fixtures" / "files"


def plain_state():
    torch.manual_seed(0)
    table = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    state = collections.OrderedDict()
    state["weight"] = torch.nn.Parameter(torch.randn(3, 4))
    state["tied"] = state["weight"]
    state["transposed"] = table.t()
    state["tail"] = table.flatten()[5:9]
    state["scalar"] = torch.tensor(2.5)
    state["empty"] = torch.zeros(0, 3)
    state["steps"] = torch.tensor([1, -2, 3])
    state["half"] = torch.randn(5).half()
    state["bfloat"] = torch.randn(5).bfloat16()
    state["double"] = torch.randn(2, 2).double()
    state["flags"] = torch.tensor([True, False, True])
    state["bytes"] = torch.tensor([0, 7, 255], dtype=torch.uint8)
    state["int8"] = torch.tensor([-128, 127], dtype=torch.int8)
    state["int16"] = torch.tensor([-300, 300], dtype=torch.int16)
    state["int32"] = torch.tensor([-70000, 70000], dtype=torch.int32)
    state["complex"] = torch.tensor([1 + 2j, -3j], dtype=torch.complex64)
    return state


class Hostile:
    """Unpickled carelessly, this leaves a file behind; the test checks that none appears."""

    def __reduce__(self):
        return os.system, ("touch zoo_was_executed",)


def every_dtype():
    tensors = {}
    for name in ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "uint16",
                 "uint32", "uint64", "complex64", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"):
        tensors[name] = torch.tensor([0, 1, 2, 1], dtype=torch.float32).to(getattr(torch, name)).reshape(2, 2)
    return tensors


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    state = plain_state()
    torch.save(state, OUT / "plain_zip.pth")
    torch.save(state, OUT / "plain_protocol4.pth", pickle_protocol=4)
    torch.save(state, OUT / "plain_legacy.pth", _use_new_zipfile_serialization=False)
    save_file({k: v.detach().clone().contiguous() for k, v in state.items()}, OUT / "expected.safetensors")

    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    options = argparse.Namespace(lr=1e-3, betas=(0.9, 0.95), output=pathlib.PosixPath("/tmp/x"), name=None, on=True)
    nested = {"epoch": 3, "best": np.float64(0.5), "args": options, "optimizer": optimizer.state_dict(),
              "milestones": collections.Counter({30: 1}), "device": torch.device("cpu"), "dtype": torch.float32,
              "model": model.state_dict()}
    torch.save(nested, OUT / "nested.pth")
    torch.save(nested, OUT / "nested_legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(every_dtype(), OUT / "dtypes.pth")
    save_file(every_dtype(), OUT / "dtypes.safetensors", metadata={"format": "pt", "note": "grüße"})

    torch.save({"weight": torch.ones(2), "extra": Hostile()}, OUT / "hostile_zip.pth")
    torch.save({"weight": torch.ones(2), "extra": Hostile()}, OUT / "hostile_legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(2, 2), OUT / "whole_module.pth")
    torch.jit.script(torch.nn.Identity()).save(str(OUT / "script.pt"))
    torch.save({"lr": 0.1}, OUT / "no_tensors.pth")


if __name__ == "__main__":
    main()
