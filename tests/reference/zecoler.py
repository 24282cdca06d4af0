"""Fixture of zecoler's prompt tuning, from the authors' code on a small RoBERTa.

git clone https://github.com/ChrisCN97/zecoler && python tests/reference/zecoler.py zecoler/method/ptuning
"""
import sys
import tempfile
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock

import torch
import transformers
from transformers import RobertaConfig, RobertaForMaskedLM

from fill import tokens
from fixture import write_fixture

SIZES = dict(vocab_size=120, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, max_position_embeddings=24,
             type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1)
PROMPTS, MASK, WORDS = 4, 5, [[10], [20, 21], [30]]


def reference(folder):
    """The two modules, without what they import only to train: optimizers, logs, scikit-learn."""
    sys.path.insert(0, folder)
    for name in ("jsonpickle", "tensorboardX", "sklearn", "sklearn.metrics", "transformers.data.metrics", "log", "tqdm", "pet.preprocessor", "pet.utils",
                 "data_utils.task_processors", "pet.config"):
        sys.modules[name] = MagicMock()
    for name in ("AdamW", "InputExample"):
        setattr(sys.modules["transformers"], name, object)
    for name in ("pet", "data_utils"):
        module = ModuleType(name)
        module.__path__ = [f"{folder}/{name}"]
        sys.modules[name] = module
    sys.modules["pet"].preprocessor = sys.modules["pet.preprocessor"]
    from pet import wrapper
    sys.modules["pet"].wrapper = wrapper
    from data_utils import task_pvps
    torch.Tensor.cuda = lambda self, *_, **__: self
    return wrapper, task_pvps


def inputs(batch=3, length=16):
    mask = torch.ones(batch, length, dtype=torch.bool)
    mask[1, 12:] = False
    ids = tokens("tokens", (batch, length), 0, 40, SIZES["vocab_size"])
    ids[mask.logical_not()] = 1
    places = torch.zeros(batch, length, dtype=torch.bool)
    for row, where in enumerate(([1, 5, 6, 10], [1, 2, 8, 9], [3, 7, 11, 13])):
        places[row, where] = True
        ids[row, [11, 10, 14][row]] = MASK
    return {"tokens": ids, "mask": mask, "prompt_places": places, "labels": torch.tensor([0, 2, 1])}


def main():
    wrapper, task_pvps = reference(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        RobertaForMaskedLM(RobertaConfig(**SIZES)).save_pretrained(folder)
        settings = SimpleNamespace(model_type="roberta", model_name_or_path=folder, cache_dir=None, label_list=["a", "b", "c"], task_name="clonedet",
                                   embed_size=SIZES["hidden_size"], pattern_id=PROMPTS, prompt_encoder_type="lstm")
        model = wrapper.ContinuousPrompt(settings, None)
    for parameter in model.model.parameters():  # freeze_plm
        parameter.requires_grad = False
    holder = SimpleNamespace(config=settings, model=model)
    most = max(map(len, WORDS))
    pvp = SimpleNamespace(mlm_logits_to_cls_logits_tensor=torch.tensor([row + [-1] * (most - len(row)) for row in WORDS]),
                          verbalize=lambda label: WORDS[settings.label_list.index(label)], wrapper=holder)
    pvp._convert_single_mlm_logits_to_cls_logits = lambda x: task_pvps.PVP._convert_single_mlm_logits_to_cls_logits(pvp, x)

    def call(network, x):
        given = wrapper.TransformerModelWrapper.generate_default_inputs(
            holder, {"input_ids": x["tokens"], "block_flag": x["prompt_places"].long(), "attention_mask": x["mask"].long()})
        scores = network(**given)[0]
        behind = torch.where(x["tokens"] == MASK, 1, -1)
        logits = task_pvps.PVP.convert_mlm_logits_to_cls_logits(pvp, behind, scores)
        return {"logits": logits}, torch.nn.functional.cross_entropy(logits, x["labels"])

    config = {**SIZES, "architectures": ["ContinuousPrompt"], "model_type": "zecoler", "prompt_length": PROMPTS, "mask_token_id": MASK, "verbalizer": WORDS}
    layers = [f"model.roberta.encoder.layer.{i}{part}" for i in range(2) for part in (".attention.self", ".attention", ".output", "")]
    write_fixture("zecoler.safetensors", model, name="zecoler", config=config, inputs=inputs(), call=call,
                  reference={"repository": "github.com/ChrisCN97/zecoler", "commit": "ce2d0ad", "file": "method/ptuning/pet/wrapper.py", "class": "ContinuousPrompt",
                             "transformers": transformers.__version__},
                  mids=["lstm_head", "mlp_head", "model.roberta.embeddings", *layers],
                  grads=["prompt_embeddings.weight", "lstm_head.weight_ih_l0", "lstm_head.weight_hh_l1_reverse", "lstm_head.bias_ih_l1", "mlp_head.0.weight",
                         "mlp_head.2.bias"])
    print(sum(p.requires_grad for p in model.parameters()), "trained tensors,", [n for n, p in model.named_parameters() if p.grad is not None][:3], "...")


if __name__ == "__main__":
    main()
