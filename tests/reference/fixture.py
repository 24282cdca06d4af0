"""Write a parity fixture: inputs, intermediates, outputs, loss and gradients of a filled reference model (no weights)."""
import contextlib
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from fill import fill_

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


@contextlib.contextmanager
def taps(module, paths, store):
    """Record the output of the named submodules under `mid.<path>` (the first tensor of a tuple or dict)."""
    def hook(path):
        def record(_, __, out):
            if isinstance(out, dict):
                out = list(out.values())
            if isinstance(out, (tuple, list)):
                out = next(v for v in out if isinstance(v, torch.Tensor))
            store.setdefault(f"mid.{path}", out.detach().clone().contiguous())
        return record

    handles = [module.get_submodule(path).register_forward_hook(hook(path)) for path in paths]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def write_fixture(file, model, *, name, config, inputs, call, reference, seed=0, mids=(), grads=(), rename=lambda k: k,
                  tolerance=(1e-4, 1e-5), notes="", weights=""):
    """Fill `model`, run `call(model, inputs) -> (outputs, loss)` in eval mode, save everything as FIXTURES/<file>.

    name       registry name of the network; config: what the network is built from
    inputs     in the vocabulary of models/model.h
    mids       submodule paths to record; grads: parameter keys whose gradient of the loss is stored
    rename     reference module key -> checkpoint key, where they differ
    tolerance  (relative, absolute), fp32 CPU; the reason for a looser one belongs into `notes`
    weights    name of a published checkpoint whose weights `model` keeps, instead of being filled
    """
    model.eval()
    keys = {rename(k): list(p.shape) for k, p in model.named_parameters()} if weights else fill_(model, seed, rename)
    tensors = {f"in.{k}": v.contiguous() for k, v in inputs.items()}
    with taps(model, mids, tensors):
        outputs, loss = call(model, inputs)
    tensors.update({f"out.{k}": v.detach().clone().contiguous() for k, v in outputs.items()})
    if loss is not None:
        tensors["loss"] = loss.detach().clone().reshape(1)
        loss.backward()
        parameters = {rename(k): p for k, p in model.named_parameters(remove_duplicate=False)}
        tensors.update({f"grad.{key}": parameters[key].grad.detach().clone().contiguous() for key in grads})
    metadata = {
        "model": name, "config": json.dumps(config), "keys": json.dumps(keys), "seed": str(seed),
        "parameters": str(sum(p.numel() for p in model.parameters())), "mids": json.dumps([f"mid.{m}" for m in mids]),
        "reference": json.dumps(reference), "tolerance": json.dumps({"relative": tolerance[0], "absolute": tolerance[1]}),
        "torch": torch.__version__, "notes": notes, **({"weights": weights} if weights else {}),
    }
    (FIXTURES / file).parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(FIXTURES / file), metadata=metadata)
    size = (FIXTURES / file).stat().st_size
    print(f"{file}: {len(keys)} keys, {metadata['parameters']} parameters, {len(tensors)} tensors, {size / 1024:.0f} KiB")
