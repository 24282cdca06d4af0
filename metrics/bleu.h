// Corpus BLEU (Papineni et al., 2002) in two forms that are published side by side and differ in the second digit.
#pragma once
#include "metrics/texts.h"

namespace zoo::metrics {

struct Bleu {
  double score = 0;                // 0 .. 100
  double brevity_penalty = 0;      // 0 .. 1
  std::vector<double> precisions;  // of 1- to 4-grams, 0 .. 100, smoothed
  int64_t hypothesis_length = 0, reference_length = 0;
};

// sacreBLEU's tokenizers: mteval-v13a's; no change; every character; mteval-v14's international one.
enum class BleuTokenizer { v13a, none, character, international };
// "13a", "none", "char", "intl". Throws std::invalid_argument for others.
BleuTokenizer bleu_tokenizer(const std::string& name);
std::vector<std::u32string> bleu_tokens(std::string_view line, BleuTokenizer tokenizer);

// As sacreBLEU 2 (Post, 2018): exponential smoothing, the closest reference's length. Throws what check_counts throws.
Bleu sacre_bleu(const Texts& hypotheses, const References& references, BleuTokenizer tokenizer = BleuTokenizer::v13a);

// As CodeXGLUE's bleu.py: words between white space, one added to every match and total, the shortest reference's length.
Bleu codexglue_bleu(const Texts& hypotheses, const References& references);

}  // namespace zoo::metrics
