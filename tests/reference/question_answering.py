"""Answers to questions by a tiny filled BERT, windows and choice as in transformers' examples/pytorch/question-answering.

python tests/reference/question_answering.py  writes tests/fixtures/files/question_answering.json
"""
import json
import pathlib
import tempfile

import numpy
import torch
import transformers
from transformers import AutoTokenizer, BertConfig, BertForQuestionAnswering

from fill import fill_
from text_tasks import SIZES, VOCABULARY

MAX_LENGTH, STRIDE, N_BEST, LONGEST = 24, 6, 20, 8
CONTEXTS = ["anna met peter in london , and the cat lives in paris ! the big red house was a good film .",
            "東京 is a city in über . " * 4 + "peter walked to the Café , the Café was small .", "the dog works ."]
QUESTIONS = ["  the city ?", "peter met anna in the house ?", "cafe ?"]


def answers(model, tokenizer, question, context, may_lack):
    question = question.lstrip()
    windows = tokenizer(question, context, truncation="only_second", max_length=MAX_LENGTH, stride=STRIDE, return_overflowing_tokens=True,
                        return_offsets_mapping=True)
    found, none = [], None
    for ids, types, mask, offsets, owners in zip(windows["input_ids"], windows["token_type_ids"], windows["attention_mask"], windows["offset_mapping"],
                                                 [windows.sequence_ids(i) for i in range(len(windows["input_ids"]))]):
        out = model(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([types]), attention_mask=torch.tensor([mask]))
        start, end = out.start_logits[0].detach().numpy(), out.end_logits[0].detach().numpy()
        null = float(start[0]) + float(end[0])
        none = null if none is None else min(none, null)
        for i in numpy.argsort(start)[-1:-N_BEST - 1:-1].tolist():
            for j in numpy.argsort(end)[-1:-N_BEST - 1:-1].tolist():
                if owners[i] != 1 or owners[j] != 1 or j < i or j - i + 1 > LONGEST:
                    continue
                found.append((float(start[i]) + float(end[j]), offsets[i][0], offsets[j][1]))
    if may_lack:
        found.append((none, 0, 0))
    best = sorted(found, key=lambda x: x[0], reverse=True)[:N_BEST]
    scores = numpy.array([x[0] for x in best])
    shares = numpy.exp(scores - scores.max())
    shares /= shares.sum()
    chosen = [{"answer": context[a:b], "start": a, "end": b, "score": float(p)} for (_, a, b), p in zip(best, shares)]
    return len(windows["input_ids"]), chosen


def main():
    config = BertConfig(vocab_size=len(VOCABULARY), **SIZES)
    model = BertForQuestionAnswering(config).eval()
    keys = fill_(model, 7)
    with torch.no_grad():
        model.qa_outputs.weight.mul_(6)  # far enough apart
    with tempfile.TemporaryDirectory() as top:
        folder = pathlib.Path(top)
        (folder / "vocab.txt").write_text("".join(word + "\n" for word in VOCABULARY), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 48}))
        config.save_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    cases = []
    for context in CONTEXTS:
        for question in QUESTIONS:
            windows, plain = answers(model, tokenizer, question, context, False)
            cases.append({"question": question, "context": context, "windows": windows, "answers": plain[:5]})
    described = {"model_type": "bert", "architectures": ["BertForQuestionAnswering"], "vocab_size": len(VOCABULARY), **SIZES}
    document = {"reference": f"transformers {transformers.__version__}", "config": described, "seed": 7, "keys": list(keys), "scale": 6, "vocabulary": VOCABULARY,
                "options": {"max_length": MAX_LENGTH, "doc_stride": STRIDE, "max_answer_length": LONGEST}, "cases": cases}
    path = pathlib.Path(__file__).parent.parent / "fixtures/files/question_answering.json"
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(path, path.stat().st_size, "bytes", [(case["windows"], case["answers"][0]["answer"]) for case in cases])


if __name__ == "__main__":
    main()
