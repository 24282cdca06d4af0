"""Does transformers load a folder that zoo wrote, and compute the same?  python tests/reference/check_saved_folder.py ZOO FOLDER [TEXT...]

ZOO is the program, FOLDER a checkpoint of text_classification, token_classification, fill_mask or embedding (chosen by the
architecture in its config.json). Both sides see the same texts; prints the largest difference and exits 1 above 1e-4.
"""
import json
import subprocess
import sys

import torch
from transformers import (AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification,
                          AutoModelForTokenClassification, AutoTokenizer, pipeline)

TEXTS = ["a stirring , funny and finally transporting film", "the worst two hours of my life .",
         "Anna met Peter in London ; they talked about the weather for a very long time"]
TOLERANCE = 1e-4


def run_zoo(zoo, folder, task, text, *more):
    command = [zoo, "run", folder, "--task", task, "--input", text, "--json", *more]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["predictions"][0]


def loaded(cls, folder):
    """The network, after a check that no tensor was missing, left over or of another shape."""
    model, report = cls.from_pretrained(folder, output_loading_info=True)
    problems = {key: sorted(map(str, value)) for key, value in report.items() if value}
    assert not problems, f"{folder}: transformers reports {problems}"
    return model.eval()


def classification(zoo, folder, text, model, tokenizer):
    with torch.no_grad():
        expected = model(**tokenizer(text, return_tensors="pt")).logits[0].softmax(-1)
    found = run_zoo(zoo, folder, "text_classification", text)["probabilities"]
    return max(abs(found[model.config.id2label[i]] - p) for i, p in enumerate(expected.tolist()))


def entities(zoo, folder, text, model, tokenizer):
    expected = pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="simple")(text)
    found = run_zoo(zoo, folder, "token_classification", text)["entities"]
    assert [(e["entity_group"], e["start"], e["end"]) for e in expected] == [(e["entity_group"], e["start"], e["end"]) for e in found]
    return max((abs(a["score"] - b["score"]) for a, b in zip(expected, found)), default=0.0)


def masks(zoo, folder, text, model, tokenizer):
    text = " ".join([*text.split()[:-1], tokenizer.mask_token])
    expected = pipeline("fill-mask", model=model, tokenizer=tokenizer)(text)
    found = run_zoo(zoo, folder, "fill_mask", text)["masks"][0]
    assert [e["token"] for e in expected] == [e["token"] for e in found]
    return max(abs(a["score"] - b["score"]) for a, b in zip(expected, found))


KINDS = {"ForSequenceClassification": (AutoModelForSequenceClassification, classification),
         "ForTokenClassification": (AutoModelForTokenClassification, entities), "ForMaskedLM": (AutoModelForMaskedLM, masks)}


def main(zoo, folder, *texts):
    architecture = AutoConfig.from_pretrained(folder).architectures[0]
    kind = next((value for ending, value in KINDS.items() if architecture.endswith(ending)), None)
    if kind is None:
        loaded(AutoModel, folder)
        print(f"{folder}: {architecture} loads in transformers without missing or unexpected tensors; no head to compare")
        return 0
    model, tokenizer = loaded(kind[0], folder), AutoTokenizer.from_pretrained(folder)
    worst = max(kind[1](zoo, folder, text, model, tokenizer) for text in texts or TEXTS)
    print(f"{folder}: {architecture}, largest difference {worst:.2e} (allowed {TOLERANCE:.0e})")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
