// The two parts of CodeBLEU (Ren et al., 2020) that need no parser of the language: BLEU of words, and BLEU whose single words
// weigh 1 when they are keywords and 0.2 otherwise. The other two, syntax trees and data flow, are not computed.
#pragma once
#include "metrics/texts.h"

namespace zoo::metrics {

struct CodeBleu {
  double ngram = 0, weighted_ngram = 0;  // 0 .. 1, as the package codebleu gives them
};

// Words are what white space separates. The weighted part has, as CodeXGLUE's script has, recall in place of precision and a
// reference length of 2 for every segment, so that its brevity penalty is 1 but for the shortest texts.
// Throws what check_counts throws, and std::invalid_argument for a language that is not in code_languages().
CodeBleu code_bleu(const Texts& hypotheses, const References& references, const std::string& language);

// c, c_sharp, cpp, go, java, javascript, php, python, ruby, rust.
std::vector<std::string> code_languages();
// The words that weigh 1. Throws std::invalid_argument for a language that is not known.
const std::vector<std::u32string>& code_keywords(const std::string& language);

}  // namespace zoo::metrics
