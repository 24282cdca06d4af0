"""Fixtures of CodeT5's detectors of defects and clones, from the authors' code.

git clone https://github.com/salesforce/CodeT5 && python tests/reference/codet5_heads.py CodeT5/CodeT5/models.py
"""
import importlib.util
import sys
from types import SimpleNamespace

import torch
import transformers
from transformers import T5Config, T5ForConditionalGeneration

from fill import tokens
from fixture import write_fixture
from t5 import SIZES, block_grads, block_mids

LENGTH = 17
CONFIG = {**SIZES, "eos_token_id": 2}  # CodeT5's ids: <pad> 0, <s> 1, </s> 2


def texts(name, ends):
    """Rows of `ends` tokens with </s> last, padded; the reference tells padding by its id."""
    ids = tokens(name, (len(ends), LENGTH), 0, 3, SIZES["vocab_size"])
    mask = torch.arange(LENGTH)[None] < torch.tensor(ends)[:, None]
    for row, end in enumerate(ends):
        ids[row, end - 1] = 2
    return ids.masked_fill(mask.logical_not(), 0), mask


def write(file, models, name, inputs, rows, head_mids, head_grads):
    generation = T5ForConditionalGeneration(T5Config(**CONFIG))
    args = SimpleNamespace(model_type="codet5", max_source_length=LENGTH)
    model = getattr(models, name)(generation, generation.config, SimpleNamespace(pad_token_id=0), args)
    logits = []
    model.classifier.register_forward_hook(lambda _, __, out: logits.append(out))

    def call(network, x):
        loss, _ = network(rows(x), x["labels"])
        return {"logits": logits.pop()}, loss

    # The reference reads both codes of a pair in one pass, so intermediates of its rows are not those of one text. Its decoder does
    # not attend to padding, which alters what it holds at padding and nothing else: those intermediates are left out.
    mids = [*(block_mids("encoder.", False) if name == "DefectModel" else []), *head_mids]
    write_fixture(file, model, name="t5", config={**CONFIG, "architectures": [name], "model_type": "t5"}, inputs=inputs, call=call,
                  reference={"repository": "github.com/salesforce/CodeT5", "commit": "7de7f69", "file": "CodeT5/models.py", "class": name,
                             "transformers": transformers.__version__},
                  mids=mids, grads=[*block_grads("encoder.", True, False), *head_grads])


if __name__ == "__main__":
    spec = importlib.util.spec_from_file_location("codet5_models", sys.argv[1])
    models = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(models)
    ids, mask = texts("tokens", (17, 11, 3))
    pair_ids, pair_mask = texts("pair_tokens", (9, 17, 5))
    labels = torch.tensor([0, 1, 1])
    write("t5.codet5_defect.safetensors", models, "DefectModel", {"tokens": ids, "mask": mask, "labels": labels}, lambda x: x["tokens"],
          ["classifier"], ["classifier.weight", "classifier.bias"])
    write("t5.codet5_clone.safetensors", models, "CloneModel",
          {"tokens": ids, "mask": mask, "pair_tokens": pair_ids, "pair_mask": pair_mask, "labels": labels},
          lambda x: torch.cat([x["tokens"], x["pair_tokens"]], 1), ["classifier"], ["classifier.dense.weight", "classifier.out_proj.bias"])
