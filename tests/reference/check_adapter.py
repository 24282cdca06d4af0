"""Does Python's peft read an adapter that zoo wrote, and compute the same?  python tests/reference/check_adapter.py ZOO ADAPTER [TEXT...]

ZOO is the program, ADAPTER what `zoo train` wrote with "peft" in its recipe, for text_classification or (GPT-2) generate. Its base is
taken from adapter_config.json. Compares the probabilities of the texts' classes, or of a language model the texts' losses, and those of the network that `zoo convert ADAPTER OUT --merge`
makes; prints the largest differences and exits 1 above 1e-5. A comparison that could not fail is an error: probabilities that
are no numbers, texts that all get the same answer (a tokenizer that knows none of their words), low-rank terms without effect.
"""
import json
import math
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

TEXTS = ["a stirring , funny and finally transporting film", "the worst two hours of my life .", "it is neither good nor bad"]
TOLERANCE = 1e-5


def zoo_document(*command):
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def zoo_answer(zoo, folder, text, labels, scratch):
    """A language model's loss, or the probability of each class."""
    if labels is None:
        file = Path(scratch) / "text.txt"
        file.write_text(text)
        return [zoo_document(zoo, "eval", folder, "--task", "generate", "--data", file, "--json")["metrics"]["loss"]]
    shares = zoo_document(zoo, "run", folder, "--input", text, "--json", "--top-k", "100")["predictions"][0]["probabilities"]
    return [shares[label] for label in labels]


def answer_of(logits, given, labels):
    if labels is None:
        return [torch.nn.functional.cross_entropy(logits[0, :-1], given["input_ids"][0, 1:]).item()]
    return logits[0].softmax(-1).tolist()


def without_low_rank(model, given):
    """Logits with every lora_B at zero: what the head and the biases do alone."""
    factors = [p for name, p in model.named_parameters() if ".lora_B." in name]
    kept = [p.detach().clone() for p in factors]
    for p in factors:
        p.data.zero_()
    logits = model(**given).logits
    for p, values in zip(factors, kept):
        p.data.copy_(values)
    return logits, bool(factors)


def main(zoo, folder, *texts):
    saved = json.loads((Path(folder) / "config.json").read_text())
    base = json.loads((Path(folder) / "adapter_config.json").read_text())["base_model_name_or_path"]
    labels = None
    if saved["architectures"][0].endswith("LMHeadModel"):
        network = AutoModelForCausalLM.from_pretrained(base)
    else:
        labels = [name for _, name in sorted(saved["id2label"].items(), key=lambda item: int(item[0]))]
        network = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(labels), ignore_mismatched_sizes=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(network, folder).eval()
    problems = [str(w.message) for w in caught if "key" in str(w.message).lower()]
    assert not problems, problems
    tokenizer = AutoTokenizer.from_pretrained(folder)
    worst, answers, effect = {"adapter": 0.0, "merged": 0.0}, [], 0.0
    with tempfile.TemporaryDirectory() as scratch:
        whole = str(Path(scratch) / "whole")
        subprocess.run([zoo, "convert", folder, whole, "--merge"], check=True, capture_output=True)
        for text in texts or TEXTS:
            given = tokenizer(text, return_tensors="pt")
            with torch.no_grad():
                expected = answer_of(model(**given).logits, given, labels)
                logits, low_rank = without_low_rank(model, given)
                plain = answer_of(logits, given, labels)
            answers.append(expected)
            effect = max(effect, *(abs(a - b) for a, b in zip(expected, plain)))
            for kind, place in (("adapter", folder), ("merged", whole)):
                differences = [abs(a - b) for a, b in zip(zoo_answer(zoo, place, text, labels, scratch), expected)]
                assert all(map(math.isfinite, differences)), f"{text}: {expected}, differences {differences}"
                worst[kind] = max(worst[kind], *differences)
    spread = max(max(column) - min(column) for column in zip(*answers))
    print(f"between the texts the answers differ by up to {spread:.2e}; the low-rank terms change them by up to {effect:.2e}")
    assert spread > 1e-3, "all texts get the same answer: nothing was compared"
    assert effect > 1e-3 or not low_rank, "the low-rank terms have no effect: nothing was compared"
    print(f"{folder}: largest difference {worst['adapter']:.2e}, merged {worst['merged']:.2e} (allowed {TOLERANCE:.0e})")
    return int(max(worst.values()) > TOLERANCE)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
