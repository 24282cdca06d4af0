"""Writes tokenizers/unicode_tables.cpp: what the reference `tokenizers` library believes about each code point.

The reference mixes several Unicode versions (one per Rust crate), and the utf8proc of a system has its own. Ids must not
depend on that, so the properties are read off the reference itself, one code point at a time.
    python tests/reference/unicode_tables.py
"""

import pathlib
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
ALWAYS_CLEANED = (0x0, 0xFFFD)  # removed by name, whatever their category
nfd, nfkd = normalizers.NFD(), normalizers.NFKD()
lowercase = normalizers.Lowercase()
strip_accents = normalizers.StripAccents()
clean = normalizers.BertNormalizer(
    clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False
)
bert_accents = normalizers.BertNormalizer(
    clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False
)
bert_split, word_split = pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Whitespace()
digit_split = pre_tokenizers.Digits(individual_digits=True)
# What the regular expressions of Split and of ByteLevel see (Oniguruma), which has a Unicode version of its own.
by_regex = {
    "letter": normalizers.Replace(Regex(r"\p{L}"), ""),
    "number": normalizers.Replace(Regex(r"\p{N}"), ""),
    "regex_space": normalizers.Replace(Regex(r"\s"), ""),
}


def pieces(splitter, text):
    return [piece for piece, _ in splitter.pre_tokenize_str(text)]


def properties():
    """Name -> (comment, set of code points)."""
    found = {
        name: set()
        for name in ("other", "nonspacing_mark", "combining_mark", "punctuation", "word", "space")
        + ("numeric", *by_regex)
    }
    for c in CODE_POINTS:
        s = chr(c)
        if c not in ALWAYS_CLEANED and clean.normalize_str(f"a{s}b") == "ab":
            found["other"].add(c)
        if nfd.normalize_str(s) == s and bert_accents.normalize_str(f"a{s}") == "a":
            found["nonspacing_mark"].add(c)
        if strip_accents.normalize_str(f"a{s}") == "a":
            found["combining_mark"].add(c)
        parts = pieces(bert_split, f"a{s}b")
        if parts == ["a", s, "b"]:
            found["punctuation"].add(c)
        if parts == ["a", "b"]:
            found["space"].add(c)
        if len(pieces(word_split, f"a{s}b")) == 1:
            found["word"].add(c)
        if len(pieces(digit_split, f"a{s}b")) == 3:
            found["numeric"].add(c)
        for name, remove in by_regex.items():
            if remove.normalize_str(s) == "":
                found[name].add(c)
    return found


def normalization_unknown():
    """Code points younger than the reference's normalization tables: they neither decompose nor reorder there."""
    unknown, known = set(), set()
    for c in CODE_POINTS:
        s = chr(c)
        if unicodedata.category(s) == "Cn":
            unknown.add(c)
            continue
        combining = unicodedata.combining(s)
        if unicodedata.normalize("NFKD", s) != s:
            (known if nfkd.normalize_str(s) != s else unknown).add(c)
            known.update(map(ord, nfd.normalize_str(s)))  # parts that composition puts together again
        elif combining:
            probe = f"a{s}\u0334" if combining > 1 else f"a\u0345{s}"
            (known if nfd.normalize_str(probe) == unicodedata.normalize("NFD", probe) else unknown).add(c)
    return unknown, known


def ranges(members, never=None):
    """Sorted [first, last] ranges; with `never`, a range may run over every code point that is not in it."""
    out, last_never = [], -1
    barrier = sorted(never) if never is not None else None
    at = 0
    for c in sorted(members):
        if barrier is not None:
            while at < len(barrier) and barrier[at] < c:
                last_never, at = barrier[at], at + 1
        joins = out and (c == out[-1][1] + 1 or (barrier is not None and last_never < out[-1][1]))
        if joins:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def lower_runs():
    """[first, last, step, delta]: every step-th code point of first..last moves by delta. Longer mappings apart."""
    single, longer = {}, {}
    for c in CODE_POINTS:
        low = lowercase.normalize_str(chr(c))
        if len(low) > 1:
            longer[c] = low
        elif low != chr(c):
            single[c] = ord(low) - c
    runs = []
    for c, delta in single.items():
        if runs and runs[-1][3] == delta:
            first, last, step, _ = runs[-1]
            if (c - last == step) or (first == last and c - last <= 2):
                runs[-1][1:3] = [c, c - last]
                continue
        runs.append([c, c, 1, delta])
    return runs, longer


def table(name, kind, rows, width=108):
    text, line = (
        f"const std::vector<{kind}>& {name}() {{\n  static const std::vector<{kind}> rows = {{\n",
        "     ",
    )
    for row in rows:
        item = " {" + ", ".join(hex(v) if i < 2 else str(v) for i, v in enumerate(row)) + "},"
        if len(line) + len(item) > width:
            text, line = text + line + "\n", "     "
        line += item
    return text + line + "\n  };\n  return rows;\n}\n\n"


def main():
    found = properties()
    unknown, known = normalization_unknown()
    runs, longer = lower_runs()
    assert longer == {0x130: "i\u0307"}, longer  # unicode.cpp writes this one out
    text = (
        "// Written by tests/reference/unicode_tables.py from tokenizers "
        + tokenizers.__version__
        + "; do not edit.\n"
        "// Ranges [first, last] of code points; see unicode.h for what each property means.\n"
        '#include "tokenizers/unicode_tables.h"\n\nnamespace zoo::tokenizers::unicode_tables {\n\n'
    )
    for name, members in found.items():
        text += table(name, "Range", ranges(members))
    text += table("normalization_unknown", "Range", ranges(unknown, known))
    text += table("lower", "LowerRun", runs)
    text += "}  // namespace zoo::tokenizers::unicode_tables\n"
    root = pathlib.Path(__file__).resolve().parents[2]
    (root / "tokenizers/unicode_tables.cpp").write_text(text)


if __name__ == "__main__":
    main()
