"""Answers of transformers' text pipelines on tiny filled networks.  python tests/reference/text_tasks.py

Writes tests/fixtures/files/text_tasks.json: the vocabulary, the configs, the texts and what the pipelines text-classification,
token-classification (aggregation "simple") and fill-mask answer. No weights: both sides fill the networks by the same rule.
"""
import json
import pathlib
import tempfile

import transformers
from transformers import (AutoTokenizer, BertConfig, BertForMaskedLM, BertForSequenceClassification,
                          BertForTokenClassification, pipeline)

from fill import fill_

SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, max_position_embeddings=48,
             type_vocab_size=2)
WORDS = """the a an of in and to is was it film movie good bad great terrible cat dog paris london anna peter cafe met ate
saw lives works city river house blue red small big . , ! ? ' - ##s ##ing ##ed ##er ##ly ##ville live work play walk strasse
über un ##known ##k ##n 19 ##45 東 京""".split()
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]

SENTENCES = ["the film was good and the cat lives in paris .", "a terrible movie !", "Anna met Peter in the Café, then walked to London.",
             "", "the big red house of Annaville , 1945 ; the river", "東京 is a city ?  zebra    unknowns",
             "the the the the the the the the the the the the the the the the the the the the the the the the the the the the "
             "the the the the the the the the the the the the the the the the the the the the the the the cat"]
MASKED = ["the [MASK] was good .", "anna [MASK] in [MASK] ,", "[MASK]", "The Café [MASK] unknown zebra."]
CLASSES = ["negative", "neutral", "positive"]
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def labels(names):
    return dict(id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)})


def build(cls, seed, folder, **more):
    """A filled network in a folder, and how to build it again."""
    config = BertConfig(vocab_size=len(VOCABULARY), **SIZES, **more)
    model = cls(config).eval()
    keys = fill_(model, seed)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(word + "\n" for word in VOCABULARY), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": SIZES["max_position_embeddings"]}))
    described = {"model_type": "bert", "architectures": [cls.__name__], "vocab_size": len(VOCABULARY), **SIZES}
    if "id2label" in more:
        described["id2label"] = {str(k): v for k, v in more["id2label"].items()}
    return {"config": described, "seed": seed, "keys": list(keys)}


def answers(kind, folder, texts, **call):
    pipe = pipeline(kind, model=str(folder), tokenizer=AutoTokenizer.from_pretrained(folder), device="cpu")
    return [{"text": text, "answer": pipe(text, **call)} for text in texts]


def main():
    result = {"reference": f"transformers {transformers.__version__}", "vocabulary": VOCABULARY}
    with tempfile.TemporaryDirectory() as top:
        folder = pathlib.Path(top)
        for name in ("classes", "tags", "words"):
            (folder / name).mkdir()
        result["text_classification"] = build(BertForSequenceClassification, 1, folder / "classes", **labels(CLASSES))
        result["text_classification"]["cases"] = answers("text-classification", folder / "classes", SENTENCES, top_k=None,
                                                         truncation=True)
        result["token_classification"] = build(BertForTokenClassification, 5, folder / "tags", **labels(TAGS))
        result["token_classification"]["cases"] = answers("token-classification", folder / "tags", SENTENCES[:3] + SENTENCES[4:6],
                                                          aggregation_strategy="simple")
        result["fill_mask"] = build(BertForMaskedLM, 3, folder / "words")
        result["fill_mask"]["cases"] = answers("fill-mask", folder / "words", MASKED, top_k=4)
    for case in result["token_classification"]["cases"]:
        for entity in case["answer"]:
            entity["score"] = float(entity["score"])
    path = pathlib.Path(__file__).parent.parent / "fixtures/files/text_tasks.json"
    path.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
