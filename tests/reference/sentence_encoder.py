"""Sentence vectors, losses and correlations from the reference libraries.  python tests/reference/sentence_encoder.py

Writes tests/fixtures/files/sentence_encoder.json: a vocabulary, a BERT config, sentence-transformers folders with every
pooling (both spellings of their JSON), the vectors that sentence-transformers makes there, the values and gradients of its
losses and of LinkTransformer's, and correlations by scipy. No weights: both sides fill the network by the same rule.
"""
import json
import pathlib
import tempfile

import numpy as np
import scipy.stats
import sentence_transformers
import torch
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertModel

from fill import fill_, values

SIZES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, max_position_embeddings=40)
WORDS = "the a cat dog sat ran on in house river old big small and or ##s ##ed ##ing walk talk . , query :".split()
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
SENTENCES = ["the cat sat on the house .", "a dog", "", "The old dog walked in the river , and the big cat talks .", "a dog",
             "the cat " * 30, "zebra [SEP] cat", "big dogs talking"]
SEED = 7


def modules(pooling, normalize, **transformer):
    """The JSON files of a folder; pooling is the content of 1_Pooling/config.json."""
    listed = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
              {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
    if normalize:
        listed.append({"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"})
    return {"modules.json": listed, "1_Pooling/config.json": pooling,
            "sentence_bert_config.json": {"max_seq_length": None, "do_lower_case": False, **transformer}}


def old_flags(*on):
    names = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]
    return {"word_embedding_dimension": 16, **{f"pooling_mode_{name}": name in on for name in names}}


FOLDERS = {
    "mean": modules(old_flags("mean_tokens"), True, max_seq_length=32),
    "cls": modules(old_flags("cls_token"), False),
    "max": modules(old_flags("max_tokens"), False, max_seq_length=12),
    "mean_sqrt_len": modules(old_flags("mean_sqrt_len_tokens"), False),
    "weightedmean": modules(old_flags("weightedmean_tokens"), True),
    "lasttoken": modules(old_flags("lasttoken"), False),
    "two": modules(old_flags("mean_tokens", "cls_token"), True),
    "new spelling": modules({"embedding_dimension": 16, "pooling_mode": ["max", "mean"], "include_prompt": True}, True),
    "prompt": {**modules(old_flags("mean_tokens"), True),
               "config_sentence_transformers.json": {"prompts": {"query": "query : ", "plain": ""}, "default_prompt_name": "query"}},
}


def write_model(folder):
    model = BertModel(BertConfig(vocab_size=len(VOCABULARY), **SIZES)).eval()
    keys = fill_(model, SEED)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(word + "\n" for word in VOCABULARY), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": SIZES["max_position_embeddings"]}))
    config = {"vocab_size": len(VOCABULARY), **SIZES, "architectures": ["BertModel"], "model_type": "bert"}
    return config, list(keys)


def encode_all():
    cases = []
    config = keys = None
    for name, files in FOLDERS.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            config, keys = write_model(folder)
            for file, content in files.items():
                (folder / file).parent.mkdir(exist_ok=True)
                (folder / file).write_text(json.dumps(content))
            model = SentenceTransformer(str(folder), device="cpu")
            vectors = model.encode(SENTENCES, convert_to_tensor=True, show_progress_bar=False)
            cases.append({"name": name, "files": files, "max_length": model.max_seq_length, "vectors": vectors.double().tolist()})
    return config, keys, cases


def supervised_contrastive(vectors, groups, temperature):
    """Equation 2 of arXiv:2004.11362 as LinkTransformer computes it, over the rows that have a partner."""
    unit = torch.nn.functional.normalize(vectors, dim=1)
    scores = unit @ unit.T / temperature
    total, rows = 0.0, 0
    for i in range(len(groups)):
        partners = [j for j in range(len(groups)) if j != i and groups[j] == groups[i]]
        if not partners:
            continue
        others = torch.stack([scores[i, j] for j in range(len(groups)) if j != i])
        total = total - sum(scores[i, p] - torch.logsumexp(others, 0) for p in partners) / len(partners)
        rows += 1
    return total / rows


def online_contrastive(first, second, labels):
    distances = 1 - torch.nn.functional.cosine_similarity(first, second)
    negs, poss = distances[labels == 0], distances[labels == 1]
    negative = negs[negs < (poss.max() if len(poss) > 1 else negs.mean())]
    positive = poss[poss > (negs.min() if len(negs) > 1 else poss.mean())]
    return positive.pow(2).sum() + torch.relu(0.5 - negative).pow(2).sum()


def losses():
    first = torch.tensor(values("first", (6, 8), 1)).requires_grad_()
    second = torch.tensor(values("second", (6, 8), 1)).requires_grad_()
    labels = torch.tensor([1.0, 0.8, 0.2, 0.0, 0.5, 0.4], dtype=torch.float64)
    groups = [0, 1, 2, 3, 0, 4, 0, 1, 5, 6, 0, 7]
    cosine = torch.nn.functional.cosine_similarity
    named = {
        "cosine": lambda: torch.nn.functional.mse_loss(cosine(first, second), labels),
        "multiple_negatives": lambda: torch.nn.functional.cross_entropy(
            sentence_transformers.util.cos_sim(first, second) * 20, torch.arange(6)),
        "supervised_contrastive": lambda: supervised_contrastive(torch.cat([first, second]), groups, 0.07),
        "online_contrastive": lambda: online_contrastive(first, second, (labels >= 0.5).long()),
    }
    results = {}
    for name, loss in named.items():
        first.grad = second.grad = None
        value = loss()
        value.backward()
        results[name] = {"value": value.item(), "first": first.grad.tolist(), "second": second.grad.tolist()}
    return {"labels": labels.tolist(), "groups": groups, "results": results}


def correlations():
    rng = np.random.default_rng(0)
    cases = []
    for a, b in [([1, 2, 3, 4], [1, 3, 2, 4]), ([0, 0, 1, 1, 2.5], [5, 5, 5, 4, 1]), ([1, 2], [2, 1]),
                 (rng.integers(0, 6, 200) / 1.0, rng.normal(size=200)), (np.exp(rng.normal(size=50)), rng.normal(size=50))]:
        cases.append({"a": list(map(float, a)), "b": list(map(float, b)), "ranks": scipy.stats.rankdata(a).tolist(),
                      "spearman": float(scipy.stats.spearmanr(a, b)[0]), "pearson": float(scipy.stats.pearsonr(a, b)[0])})
    return cases


if __name__ == "__main__":
    config, keys, cases = encode_all()
    document = {"reference": f"sentence-transformers {sentence_transformers.__version__}, scipy {scipy.__version__}",
                "vocabulary": VOCABULARY, "config": config, "keys": keys, "seed": SEED, "sentences": SENTENCES, "folders": cases,
                "losses": losses(), "correlations": correlations()}
    target = pathlib.Path(__file__).parents[1] / "fixtures" / "files" / "sentence_encoder.json"
    target.write_text(json.dumps(document, indent=None, separators=(",", ":"), ensure_ascii=False) + "\n", encoding="utf-8")
    print(target, target.stat().st_size, "bytes")
