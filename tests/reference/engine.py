"""Writes tests/fixtures/files/engine.json: steps of optimizers, learning rates, averaged weights and loss scales as the
published libraries compute them, for the tests of app/engine.

    python tests/reference/engine.py     # needs torch==2.13.0, transformers==5.23.0, lion-pytorch==0.2.5
"""
import json
import pathlib
import warnings

import torch
import transformers
from lion_pytorch import Lion
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

warnings.filterwarnings("ignore")
STEPS = 4


def parameters():
    """Three shapes: a matrix, a bias, a convolution. The test makes the same."""
    shapes = {"weight": (3, 4), "bias": (3,), "kernel": (2, 3, 2, 2)}
    out = {}
    for place, (name, shape) in enumerate(shapes.items()):
        count = torch.Size(shape).numel()
        out[name] = torch.nn.Parameter((torch.sin(torch.arange(count, dtype=torch.float64) * 0.7 + place) * 0.5).float().reshape(shape))
    return out


def set_gradients(params, step):
    for place, p in enumerate(params.values()):
        values = torch.cos(torch.arange(p.numel(), dtype=torch.float64) * 1.3 + place + step * 0.9) * (0.3 + 0.2 * step)
        p.grad = values.float().reshape(p.shape)


def optimizer_case(name, options, make):
    params = parameters()
    decayed = [p for p in params.values() if p.dim() >= 2]
    plain = [p for p in params.values() if p.dim() < 2]
    decay = options.get("weight_decay", 0.0)
    optimizer = make([{"params": decayed, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}])
    rates = [0.01, 0.02, 0.015, 0.005]
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rates[step]
        set_gradients(params, step)
        optimizer.step()
    return {"name": name, "options": options, "rates": rates, "after": {k: p.detach().flatten().tolist() for k, p in params.items()}}


def optimizers():
    from torch.optim import SGD, Adam, AdamW
    from transformers import Adafactor

    yield optimizer_case("adamw", {"weight_decay": 0.1, "betas": [0.9, 0.99], "eps": 1e-6},
                         lambda g: AdamW(g, lr=1, betas=(0.9, 0.99), eps=1e-6, fused=True))
    yield optimizer_case("adam", {"weight_decay": 0.1, "betas": [0.8, 0.95], "eps": 1e-8}, lambda g: Adam(g, lr=1, betas=(0.8, 0.95)))
    yield optimizer_case("sgd", {"weight_decay": 0.1, "momentum": 0.9}, lambda g: SGD(g, lr=1, momentum=0.9))
    yield optimizer_case("sgd", {"weight_decay": 0.0, "momentum": 0.0}, lambda g: SGD(g, lr=1))
    yield optimizer_case("sgd", {"weight_decay": 0.05, "momentum": 0.8, "nesterov": True}, lambda g: SGD(g, lr=1, momentum=0.8, nesterov=True))
    yield optimizer_case("lion", {"weight_decay": 0.1, "betas": [0.9, 0.99]}, lambda g: Lion(g, lr=1, betas=(0.9, 0.99)))
    fixed = {"relative_step": False, "lr": 1.0}
    yield optimizer_case("adafactor", {"weight_decay": 0.1, "scale_parameter": False},
                         lambda g: Adafactor(g, scale_parameter=False, **fixed))
    yield optimizer_case("adafactor", {"weight_decay": 0.0, "scale_parameter": True, "beta1": 0.9, "clip_threshold": 0.5, "decay_rate": -0.7},
                         lambda g: Adafactor(g, scale_parameter=True, beta1=0.9, clip_threshold=0.5, decay_rate=-0.7, **fixed))


def rates_of(make, total):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.2)
    scheduler = make(optimizer)
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def schedules():
    """Rates for a peak of 0.2 over 40 steps, 10 to an epoch. In a rise of w steps zoo takes transformers' rate of the step after."""
    t, p, total = transformers.optimization, torch.optim.lr_scheduler, 40

    def case(schedule, make):
        return {"schedule": schedule, "rates": rates_of(make, total)}

    rise = {"num_warmup_steps": 8}
    span = {**rise, "num_training_steps": total}
    yield case({"name": "constant", "warmup_steps": 8}, lambda o: t.get_constant_schedule_with_warmup(o, **rise))
    yield case({"name": "linear", "warmup_steps": 8}, lambda o: t.get_linear_schedule_with_warmup(o, **span))
    yield case({"name": "cosine", "warmup_share": 0.2}, lambda o: t.get_cosine_schedule_with_warmup(o, **span))
    yield case({"name": "cosine", "warmup_steps": 8, "min_lr": 0.02}, lambda o: t.get_cosine_with_min_lr_schedule_with_warmup(o, min_lr=0.02, **span))
    yield case({"name": "cosine_restarts", "warmup_steps": 8, "cycles": 3}, lambda o: t.get_cosine_with_hard_restarts_schedule_with_warmup(o, num_cycles=3, **span))
    yield case({"name": "polynomial", "warmup_steps": 8, "power": 2.0, "min_lr": 0.01}, lambda o: t.get_polynomial_decay_schedule_with_warmup(o, lr_end=0.01, power=2.0, **span))
    for decay in ("linear", "cosine", "1-sqrt"):
        yield case({"name": "wsd", "warmup_steps": 8, "decay_share": 0.25, "decay": decay},
                   lambda o: t.get_wsd_schedule(o, num_warmup_steps=8, num_decay_steps=10, num_stable_steps=22, decay_type=decay))
    yield case({"name": "inverse_sqrt", "warmup_steps": 8}, lambda o: t.get_inverse_sqrt_schedule(o, num_warmup_steps=8))
    yield case({"name": "inverse_sqrt"}, lambda o: t.get_inverse_sqrt_schedule(o, num_warmup_steps=0))
    yield case({"name": "step", "factor": 0.5, "every_steps": 7}, lambda o: p.StepLR(o, 7, 0.5))
    yield case({"name": "step", "factor": 0.5, "every_epochs": 1}, lambda o: p.StepLR(o, 10, 0.5))
    type1 = lambda step: 0.5 ** max(step // 10 - 1, 0)  # Time-Series-Library sets 0.5 ** (epoch - 1) after each epoch, counted from 1
    yield case({"name": "step", "factor": 0.5, "every_epochs": 1, "hold_epochs": 2}, lambda o: p.LambdaLR(o, type1))
    yield case({"name": "exponential", "factor": 0.9, "every_steps": 1}, lambda o: p.ExponentialLR(o, 0.9))
    yield case({"name": "one_cycle"}, lambda o: p.OneCycleLR(o, 0.2, total_steps=total))
    yield case({"name": "one_cycle", "warmup_share": 0.5, "div_factor": 10.0, "final_div_factor": 100.0},
               lambda o: p.OneCycleLR(o, 0.2, total_steps=total, pct_start=0.5, div_factor=10.0, final_div_factor=100.0))


def plateaus():
    figures = [1.0, 0.9, 0.9, 0.95, 0.92, 0.91, 0.8, 0.79999, 0.85, 0.9, 0.9, 0.7, 0.9, 0.9, 0.9, 0.9]
    for mode in ("min", "max"):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.2)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode=mode, factor=0.5, patience=2, threshold=1e-3, min_lr=0.03)
        rates = []
        for figure in figures:
            scheduler.step(figure)
            rates.append(optimizer.param_groups[0]["lr"])
        yield {"mode": mode, "figures": figures, "rates": rates}


def average():
    """Torch copies the weights in its first update; zoo starts with them."""
    params = parameters()
    module = torch.nn.Module()
    for name, p in params.items():
        module.register_parameter(name, p)
    averaged = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    averaged.update_parameters(module)
    for step in range(STEPS):
        with torch.no_grad():
            for p in params.values():
                p.add_(0.1 * (step + 1))
        averaged.update_parameters(module)
    return {"decay": 0.9, "steps": STEPS, "after": {k: v.flatten().tolist() for k, v in averaged.module.named_parameters()}}


def loss_scales():
    """The scale after each step, for steps with and without overflow."""
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], lr=0.0)
    finite = [True, True, True, False, True, True, False, False, True, True, True, True]
    scales, taken = [], []
    for good in finite:
        parameter.grad = torch.full((2,), 1.0 if good else float("inf"))
        scaler.scale(torch.zeros(1))
        scaler.unscale_(optimizer)
        taken.append(parameter.grad.tolist()[0] if good else None)
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
    return {"init_scale": 1024.0, "growth_interval": 3, "finite": finite, "scales": scales, "gradients": taken}


def clipping():
    params = parameters()
    set_gradients(params, 1)
    norm = torch.nn.utils.clip_grad_norm_(list(params.values()), 0.5)
    by_norm = {k: p.grad.flatten().tolist() for k, p in params.items()}
    set_gradients(params, 1)
    torch.nn.utils.clip_grad_value_(list(params.values()), 0.2)
    by_value = {k: p.grad.flatten().tolist() for k, p in params.items()}
    set_gradients(params, 1)
    adaptive = {}
    for name, p in params.items():  # Brock et al., 2021, equation 3, worked out unit by unit
        grad, rows = p.grad.double(), p.detach().double()
        units = [(grad, rows)] if p.dim() == 1 else list(zip(grad, rows))
        clipped = []
        for g, w in units:
            limit = 0.3 * max(w.norm().item(), 1e-3)
            clipped.append(g * (limit / g.norm()) if g.norm() > limit else g)
        adaptive[name] = torch.cat([c.flatten() for c in clipped]).tolist()
    return {"norm": 0.5, "norm_before": norm.item(), "by_norm": by_norm, "value": 0.2, "by_value": by_value, "adaptive": 0.3, "by_adaptive": adaptive}


def lines(cases):
    return "[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]"


def main():
    path = pathlib.Path(__file__).parent.parent / "fixtures" / "files" / "engine.json"
    parts = {"torch": json.dumps(torch.__version__), "transformers": json.dumps(transformers.__version__), "optimizers": lines(optimizers()),
             "schedules": lines(schedules()), "plateaus": lines(plateaus()), "average": json.dumps(average()),
             "loss_scales": json.dumps(loss_scales()), "clipping": json.dumps(clipping())}
    path.write_text("{" + ",\n".join(f'"{k}": {v}' for k, v in parts.items()) + "}\n")


main()
