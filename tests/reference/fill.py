"""The fill rule: deterministic parameter values from key, shape and seed alone (docs/architecture.md, "Parity").

Every floating-point parameter, and the running statistics of batch norms, take values that C++ computes identically,
so a parity fixture needs no stored weights.
"""
import math

import numpy as np
import torch

MASK = (1 << 64) - 1
ONE_LIKE_SUFFIXES = ("weight", "gamma", "scale", "alpha")


def fnv1a64(text: str) -> int:
    h = 0xCBF29CE484222325
    for byte in text.encode("utf-8"):
        h = ((h ^ byte) * 0x100000001B3) & MASK
    return h


def uniform(key: str, count: int, seed: int) -> np.ndarray:
    """count doubles in [0, 1) for a key: splitmix64 of hash + i * golden gamma."""
    with np.errstate(over="ignore"):
        x = np.uint64(fnv1a64(f"{seed}:{key}")) + np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53


def values(key: str, shape, seed: int) -> np.ndarray:
    """Double-precision values of the tensor with this checkpoint key and shape."""
    shape = tuple(int(n) for n in shape)
    u = uniform(key, math.prod(shape), seed).reshape(shape)
    t = 2.0 * u - 1.0
    if key.endswith("running_var"):
        return 1.0 + 0.25 * u
    if key.endswith("running_mean"):
        return 0.1 * t
    if len(shape) >= 2:
        return t * math.sqrt(3.0 / max(1, math.prod(shape[1:])))
    if len(shape) == 1 and key.endswith(ONE_LIKE_SUFFIXES):
        return 1.0 + 0.1 * t
    return 0.1 * t


@torch.no_grad()
def fill_(module: torch.nn.Module, seed: int = 0, rename=lambda key: key) -> dict:
    """Fill parameters and batch-norm statistics in place; return {key: shape} in the module's order.

    A tensor shared under several keys is filled once, under its first key. `rename` maps a module key to the
    checkpoint key when the reference library stores another name than the published checkpoint.
    """
    keys, seen = {}, set()
    named = list(module.named_parameters(remove_duplicate=False))
    named += [(k, b) for k, b in module.named_buffers() if k.endswith(("running_mean", "running_var"))]
    for key, tensor in named:
        key = rename(key)
        if tensor.data_ptr() in seen or not tensor.is_floating_point():
            continue
        seen.add(tensor.data_ptr())
        keys[key] = list(tensor.shape)
        tensor.copy_(torch.from_numpy(np.ascontiguousarray(values(key, tensor.shape, seed))).to(tensor.dtype))
    return keys


def inputs(name: str, shape, seed: int, low: float = -1.0, high: float = 1.0) -> torch.Tensor:
    """Deterministic float32 input called `name`."""
    u = uniform("input:" + name, math.prod(shape), seed).reshape(tuple(shape))
    return torch.from_numpy(low + (high - low) * u).to(torch.float32)


def tokens(name: str, shape, seed: int, low: int, high: int) -> torch.Tensor:
    """Deterministic int64 ids in [low, high)."""
    u = uniform("input:" + name, math.prod(shape), seed).reshape(tuple(shape))
    return torch.from_numpy(np.floor(low + (high - low) * u).astype(np.int64))


if __name__ == "__main__":  # known answers, to check another implementation against
    assert fnv1a64("") == 0xCBF29CE484222325 and fnv1a64("a") == 0xAF63DC4C8601EC8C
    print("uniform('encoder.weight', 4, 7) =", [float.hex(float(v)) for v in uniform("encoder.weight", 4, 7)])
    print("values('encoder.weight', (2, 3), 7) =", values("encoder.weight", (2, 3), 7).tolist())
    print("values('norm.weight', (3,), 7) =", values("norm.weight", (3,), 7).tolist())
    print("values('norm.bias', (3,), 7) =", values("norm.bias", (3,), 7).tolist())
    print("values('bn.running_var', (3,), 7) =", values("bn.running_var", (3,), 7).tolist())
