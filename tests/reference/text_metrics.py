#!/usr/bin/env python3
"""Golden figures of the text metrics: tests/fixtures/files/text_metrics.json.

  text_metrics.py --data DATA --codexglue CodeXGLUE/Code-Code/code-refinement/evaluator --out tests/fixtures/files/text_metrics.json

DATA is the folder with code/ and text/multi30k. Packages: sacrebleu, rouge-score, codebleu, torchmetrics (for SQuAD), nltk.
"""
import argparse
import gzip
import importlib.metadata
import importlib.util
import json
import pathlib

import codebleu.bleu
import codebleu.weighted_ngram_match as weighted
from nltk.stem.porter import PorterStemmer
from rouge_score import rouge_scorer
from sacrebleu.metrics import BLEU, CHRF
from torchmetrics.functional.text.squad import _compute_exact_match_score, _compute_f1_score

HYPOTHESES = [
    "The cat sat on the mat.", "", "It costs $3,000.50, i.e. 20% more-or-less (roughly)!", "Ein Hund läuft über die Straße – schnell…",
    "a", "the", "«Привет», сказал он № 5.", "public int get ( ) { return this . value ; }", "1,2,3-4 and 5.a x-1 9-", "你好,世界。3.5",
    "skies are dying; flying innings proceed, relational hopping agreed happily", "-- .. ,, ' \" &quot;quoted&amp; &lt;b&gt;", "İstanbul ΣΟΦΟΣ naïve K",
    "first sentence here.\nsecond one follows it.", "An apple a day, the theatre; can an_a the",
]
REFERENCES = [[
    "The cat is on the mat.", "Nothing here", "It costs $3,000.5, that is 20 % more (or less)!", "Ein Hund rennt schnell über die Straße.",
    "a", "The.", "«Привет», ответил он № 6.", "public int get ( ) { return value ; }", "1,2,3 - 4 and 5. a x-1 9 -", "你好世界。3,5",
    "sky is died; flies inning proceeds, relation hopped agreeing happiness", "- . , ' \" \"quoted\"& <b>", "istanbul σοφος naive k",
    "second one comes after it.\nthe first sentence was here.", "apple day theatre can an a",
], [
    "A cat sat upon a mat.", "", "The price is $3,000.50, 20% more or less.", "Schnell läuft ein Hund über eine Straße …",
    "b c", "", "Он сказал: «Привет» № 5", "public void set ( int value ) { this . value = value ; }", "1, 2, 3-4 5.a", "世界,你好",
    "the skies died while flying; the innings proceeded", "&quot;quoted&quot;", "Istanbul", "second one follows it.", "The apple of the day",
]]
WORDS = """caresses ponies ties caress cats feed agreed plastered bled motoring sing conflated troubled sized hopping tanned falling hissing fizzed failing filing
happy sky enjoy spy relational conditional rational valenci hesitanci digitizer conformabli radicalli differentli vileli analogousli vietnamization predication operator
feudalism decisiveness hopefulness callousness formaliti sensitiviti sensibiliti triplicate formative formalize electriciti electrical hopeful goodness revival allowance
inference airliner gyroscopic adjustable defensible irritant replacement adjustment dependent adoption homologou communism activate angulariti homologous effective
bowdlerize probate rate cease controll roll dies died skies dying news innings canning succeed theology archaeologist yyyy 2nds x86ing oed ing eed ied ss
psychologically carefully opposition lion ion onion generously abilities fulli""".split()


def perturbed(line):
    """Every fifth word is missing."""
    return " ".join(word for i, word in enumerate(line.split(" ")) if i % 5 != 3)


def lines_of(path):
    opened = gzip.open(path, "rt", encoding="utf-8", newline="\n") if str(path).endswith(".gz") else open(path, encoding="utf-8", newline="\n")
    with opened as file:
        return [line.rstrip("\n") for line in file]


def exact_match(hypotheses, references):
    equal = sum(any(h.strip() == stream[i].strip() for stream in references) for i, h in enumerate(hypotheses))
    return equal / len(hypotheses)


def squad(hypotheses, references):
    best = lambda score, i: max(float(score(hypotheses[i], stream[i])) for stream in references)
    count = len(hypotheses)
    return {"squad_exact_match": sum(best(_compute_exact_match_score, i) for i in range(count)) / count,
            "token_f1": sum(best(_compute_f1_score, i) for i in range(count)) / count}


def rouge(hypotheses, references, stem):
    names = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    scorer = rouge_scorer.RougeScorer(names, use_stemmer=stem)
    sums = dict.fromkeys(names, 0.0)
    for i, hypothesis in enumerate(hypotheses):
        for name, score in scorer.score_multi([stream[i] for stream in references], hypothesis).items():
            sums[name] += score.fmeasure / len(hypotheses)
    return sums


def code_bleu(hypotheses, references, language):
    folder = pathlib.Path(codebleu.__file__).parent / "keywords"
    keywords = [line.strip() for line in open(folder / f"{language}.txt", encoding="utf-8")]
    words = [h.strip().split() for h in hypotheses]
    streams = [[stream[i].strip().split() for stream in references] for i in range(len(hypotheses))]
    with_weights = [[[one, {word: 1 if word in keywords else 0.2 for word in one}] for one in several] for several in streams]
    return {"codebleu_ngram": codebleu.bleu.corpus_bleu(streams, words), "codebleu_weighted_ngram": weighted.corpus_bleu(with_weights, words)}


def bleus(script, hypotheses, references):
    figures = {f"bleu_{name}": BLEU(tokenize=name).corpus_score(hypotheses, references).score for name in ("13a", "none", "char", "intl")}
    streams = [[stream[i].strip().split() for stream in references] for i in range(len(hypotheses))]
    figures["codexglue_bleu"] = 100 * script.compute_bleu(streams, [h.strip().split() for h in hypotheses], 4, True)[0]
    figures["exact_match"] = exact_match(hypotheses, references)
    return figures


def all_figures(script, hypotheses, references, language="java"):
    figures = bleus(script, hypotheses, references)
    figures["chrf"] = CHRF().corpus_score(hypotheses, references).score
    figures["chrf++"] = CHRF(word_order=2).corpus_score(hypotheses, references).score
    figures["rouge"], figures["rouge_stem"] = rouge(hypotheses, references, False), rouge(hypotheses, references, True)
    figures.update(squad(hypotheses, references))
    figures.update(code_bleu(hypotheses, references, language))
    return figures


# hypotheses, references, how many lines, language; a file against itself: with words missing (perturbed)
FILES = [
    ("code/refinement/published_outputs/small-model.output", ["code/refinement/published_outputs/small-model.gold"], 1000, "java"),
    ("code/java_csharp/test.java-cs.txt.java", ["code/java_csharp/test.java-cs.txt.cs"], 1000, "c_sharp"),
    ("text/multi30k/test_2016_flickr.de.gz", ["text/multi30k/test_2016_flickr.de.gz"], 1000, "python"),
    ("text/multi30k/test_2016_flickr.en.gz", ["text/multi30k/test_2016_flickr.en.gz", "text/multi30k/val.en.gz"], 500, "cpp"),
]
# Copying the input, over the whole files.
COPIES = [
    ("code/refinement/small/test.buggy-fixed.buggy", "code/refinement/small/test.buggy-fixed.fixed"),
    ("code/refinement/medium/test.buggy-fixed.buggy", "code/refinement/medium/test.buggy-fixed.fixed"),
    ("code/java_csharp/test.java-cs.txt.java", "code/java_csharp/test.java-cs.txt.cs"),
    ("code/java_csharp/test.java-cs.txt.cs", "code/java_csharp/test.java-cs.txt.java"),
]


def file_case(script, data, hypotheses, references, limit, language):
    streams = [lines_of(data / name)[:limit] for name in references]
    texts = lines_of(data / hypotheses)[:limit]
    changed = hypotheses in references
    if changed:
        texts = [perturbed(line) for line in texts]
    return {"hypotheses": hypotheses, "references": references, "limit": limit, "perturbed": changed, "language": language,
            "figures": all_figures(script, texts, streams, language)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--codexglue", type=pathlib.Path, required=True, help="folder of CodeXGLUE's bleu.py")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    spec = importlib.util.spec_from_file_location("codexglue_bleu", arguments.codexglue / "bleu.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    packages = ("sacrebleu", "rouge-score", "nltk", "codebleu", "torchmetrics")
    stemmer = PorterStemmer()
    golden = {
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "hypotheses": HYPOTHESES, "references": REFERENCES,
        "one": all_figures(script, HYPOTHESES, REFERENCES[:1]), "two": all_figures(script, HYPOTHESES, REFERENCES),
        "stems": {word: stemmer.stem(word) for word in WORDS},
        "files": [file_case(script, arguments.data, *case) for case in FILES],
        "copies": [{"hypotheses": one, "references": two, "figures": bleus(script, lines_of(arguments.data / one), [lines_of(arguments.data / two)])}
                   for one, two in COPIES],
    }
    with open(arguments.out, "w", encoding="utf-8") as file:
        json.dump(golden, file, ensure_ascii=False, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
