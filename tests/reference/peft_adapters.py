"""Adapters made by Python's peft on tiny filled networks, and what the adapted networks then give.

Writes tests/fixtures/peft/<case>/ (adapter_config.json, adapter_model.safetensors) and tests/fixtures/peft/expected.safetensors:
inputs, logits, gradients of everything that an adapter trains, merged weights, and an adapter after 20 steps of AdamW. The
bases are not stored: the fill rule gives them here and there.
"""
import json
import shutil
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from transformers import (BertConfig, BertForSequenceClassification, GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel,
                          ViTConfig, ViTForImageClassification)

from fill import fill_, inputs, tokens, values

FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "peft"
BERT = dict(vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
            max_position_embeddings=20, num_labels=3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
VIT = dict(image_size=8, patch_size=4, num_channels=3, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
           intermediate_size=24, num_labels=3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
GPT2 = dict(vocab_size=60, n_positions=20, n_embd=16, n_layer=2, n_head=2, n_inner=24, num_labels=3, pad_token_id=0, bos_token_id=1,
            eos_token_id=1, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
SEED = 5

CASES = {
    "lora": dict(r=4, lora_alpha=6, target_modules=["query", "value", "intermediate.dense"], task_type="SEQ_CLS", lora_dropout=0.1,
                 rank_pattern={"layer.1.attention.self.query": 2}, alpha_pattern={"value": 3}),
    "rslora": dict(r=3, lora_alpha=5, use_rslora=True, bias="lora_only", target_modules=r".*layer\.\d+\.(attention\.output|output)\.dense"),
    "dora": dict(r=2, lora_alpha=4, use_dora=True, target_modules="all-linear", exclude_modules=["classifier"]),
    "layers": dict(r=2, lora_alpha=3, lora_bias=True, bias="all", target_modules=["dense", "key"], layers_to_transform=[1]),
    "bias": dict(target_modules="dummy-target-modules", bias="all", task_type="SEQ_CLS"),
    "head": dict(target_modules="dummy-target-modules", modules_to_save=["classifier", "pooler.dense"]),
}
VIT_CASES = {
    "vit_lora": dict(r=3, lora_alpha=4, target_modules=["q_proj", "projection"], modules_to_save=["classifier"]),
    "vit_dora": dict(r=2, lora_alpha=4, use_dora=True, target_modules=["v_proj", "projection"]),
}
# Layers whose weights are stored [in, out]: Conv1D in transformers, fan_in_fan_out in peft.
GPT2_CASES = {
    "gpt2_lora": dict(r=3, lora_alpha=5, target_modules=["c_attn", "c_fc"], bias="lora_only", fan_in_fan_out=True, task_type="CAUSAL_LM",
                      rank_pattern={"h.1.mlp.c_fc": 2}),
    "gpt2_dora": dict(r=2, lora_alpha=4, use_dora=True, target_modules="all-linear", fan_in_fan_out=True, task_type="SEQ_CLS"),
}


def vit_key(key):
    """The published checkpoints' names, by which zoo fills; transformers 5 has other ones in memory."""
    key = key.replace("vit.layers.", "vit.encoder.layer.").replace("mlp.fc1", "intermediate.dense").replace("mlp.fc2", "output.dense")
    for short, long in (("q", "query"), ("k", "key"), ("v", "value")):
        key = key.replace(f"attention.{short}_proj", f"attention.attention.{long}")
    return key.replace("attention.o_proj", "attention.output.dense")


def base_model(case):
    if case.startswith("vit"):
        model = ViTForImageClassification(ViTConfig(**VIT))
        fill_(model, SEED, vit_key)
    elif case.startswith("gpt2"):
        model = {"gpt2_lora": GPT2LMHeadModel, "gpt2_dora": GPT2ForSequenceClassification}[case](GPT2Config(**GPT2))
        fill_(model, SEED)
    else:
        model = BertForSequenceClassification(BertConfig(**BERT))
        fill_(model, SEED)
    model.name_or_path = "filled-base"
    return model.eval()


def batch(case, number=0):
    seed = SEED + number
    labels = tokens("labels", (4,), seed, 0, 3)
    if case.startswith("vit"):
        return {"pixel_values": inputs("image", (4, 3, 8, 8), seed)}, labels
    mask = torch.ones(4, 9, dtype=torch.int64)
    mask[1, 6:] = 0
    ids = tokens("tokens", (4, 9), seed, 0, 60)
    if case.startswith("gpt2"):  # whose classifier reads the last token that is no padding
        ids = ids.masked_fill(mask == 0, GPT2["pad_token_id"])
    return {"input_ids": ids, "attention_mask": mask}, labels


def fill_adapter(folder):
    """Fresh adapters change nothing: every tensor gets other values."""
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    for key, tensor in tensors.items():
        filled = torch.from_numpy(values(key, tensor.shape, SEED + 1)).to(torch.float32)
        if "magnitude" in key:
            tensors[key] = tensor * (1 + filled.reshape(tensor.shape))
        elif ".lora_" in key:
            tensors[key] = 0.5 * filled
        else:
            tensors[key] = filled
    for key in list(tensors):  # bias="all" stores a kept module's bias three times
        if ".modules_to_save." in key or ".original_module." in key:
            del tensors[key]
    save_file(tensors, file, metadata={"format": "pt"})


def plain_name(name):
    """A trained parameter's name without peft's wrappers, on the published checkpoints' paths."""
    name = name.removeprefix("base_model.model.").replace("lora_magnitude_vector.default.weight", "lora_magnitude_vector")
    for wrapper in (".modules_to_save.default", ".default", ".base_layer"):
        name = name.replace(wrapper, "")
    return vit_key(name)


def trained_values(model):
    return {plain_name(k): p for k, p in model.named_parameters() if p.requires_grad and ".original_module." not in k}


def loss_of(model, case, number=0):
    given, labels = batch(case, number)
    logits = model(**given).logits
    last = logits[:, -1] if logits.dim() == 3 else logits  # of a language model: the text's last position
    return logits, torch.nn.functional.cross_entropy(last, labels)


def write_case(case, settings, out):
    folder = FOLDER / case
    shutil.rmtree(folder, ignore_errors=True)
    get_peft_model(base_model(case), LoraConfig(**settings)).save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    fill_adapter(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    for key in ("target_modules", "exclude_modules"):  # sets, in another order at each run
        if isinstance(config[key], list):
            config[key] = sorted(config[key])
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")

    model = PeftModel.from_pretrained(base_model(case), folder, is_trainable=True).eval()
    logits, loss = loss_of(model, case)
    loss.backward()
    out[f"{case}.logits"], out[f"{case}.loss"] = logits, loss.reshape(1)
    for name, parameter in trained_values(model).items():
        out[f"{case}.grad.{name}"] = parameter.grad
    merged = PeftModel.from_pretrained(base_model(case), folder).merge_and_unload()
    for key, tensor in merged.state_dict().items():
        if "weight" in key and ("layer.1" in key or "layers.1" in key or "projection" in key or ".h.1." in key):
            out[f"{case}.merged.{vit_key(key) if case.startswith('vit') else key}"] = tensor
    print(case, "loss", loss.item(), "merged differs by", (merged(**batch(case)[0]).logits - logits).abs().max().item())


def write_sum(out):
    """rslora x 0.7, then dora x 0.5, on the same layers of one network."""
    model = PeftModel.from_pretrained(base_model("rslora"), FOLDER / "rslora", adapter_name="first")
    model.load_adapter(FOLDER / "dora", adapter_name="second")
    model.base_model.set_adapter(["first", "second"])
    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.set_scale("first", 0.7)
            module.set_scale("second", 0.5)
    model.eval()
    out["sum.logits"] = loss_of(model, "rslora")[0]


def write_training(case, out, steps=20):
    """AdamW with decay on tensors of two or more axes, as zoo's default; dropout 0."""
    config = LoraConfig.from_pretrained(FOLDER / case)
    config.lora_dropout = 0.0
    model = PeftModel.from_pretrained(base_model(case), FOLDER / case, config=config, is_trainable=True).train()
    trained = trained_values(model)
    groups = [{"params": [p for p in trained.values() if p.dim() >= 2], "weight_decay": 0.05},
              {"params": [p for p in trained.values() if p.dim() < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=5e-3, betas=(0.9, 0.999), eps=1e-8)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = loss_of(model, case, step)[1]
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    out[f"{case}.trained.losses"] = torch.stack(losses)
    for name, parameter in trained.items():
        out[f"{case}.trained.{name}"] = parameter


class OneConvolution(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv1d(6, 5, 1)

    def forward(self, x):
        return self.conv(x.transpose(1, 2)).transpose(1, 2)


def write_pointwise(out):
    """A convolution of kernel 1, which the forecasting networks use as a linear layer: x [B, T, in] -> [B, T, out]."""
    out["conv.x"] = inputs("x", (2, 4, 6), SEED)
    for kind, dora in (("lora", False), ("dora", True)):
        base = OneConvolution()
        fill_(base, SEED)
        model = get_peft_model(base, LoraConfig(r=2, lora_alpha=3, target_modules=["conv"], use_dora=dora)).eval()
        for name, parameter in trained_values(model).items():
            filled = torch.from_numpy(values(name, parameter.shape, SEED + 1)).to(torch.float32)
            parameter.data = parameter.data * (1 + filled) if "magnitude" in name else filled
            out[f"conv.{kind}.{name}"] = parameter
        out[f"conv.{kind}.y"] = model(out["conv.x"])
        out[f"conv.{kind}.merged"] = model.merge_and_unload().conv.weight


def main():
    torch.manual_seed(0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    out = {}
    for case, settings in {**CASES, **VIT_CASES, **GPT2_CASES}.items():
        write_case(case, settings, out)
    write_sum(out)
    write_pointwise(out)
    for case in ("lora", "rslora", "dora", *GPT2_CASES):
        write_training(case, out)
    for name, given in (("bert", batch("lora")[0]), ("vit", batch("vit")[0])):
        out.update({f"in.{name}.{key}": value for key, value in given.items()})
    tensors = {key: value.detach().clone().contiguous() for key, value in out.items()}
    import peft
    import transformers
    metadata = {"bert": json.dumps({"model_type": "bert", "architectures": ["BertForSequenceClassification"], **BERT}),
                "gpt2_lora": json.dumps({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], **GPT2}),
                "gpt2_dora": json.dumps({"model_type": "gpt2", "architectures": ["GPT2ForSequenceClassification"], **GPT2}),
                "vit": json.dumps({"model_type": "vit", "architectures": ["ViTForImageClassification"], **VIT}),
                "seed": str(SEED), "peft": peft.__version__, "transformers": transformers.__version__, "torch": torch.__version__}
    save_file(tensors, FOLDER / "expected.safetensors", metadata=metadata)
    print(f"{FOLDER}: {sum(f.stat().st_size for f in FOLDER.rglob('*') if f.is_file())} bytes")


if __name__ == "__main__":
    sys.exit(main())
