// ROUGE (Lin, 2004) as in the package rouge_score: means over the segments of the F-measure, 0 .. 1.
#pragma once
#include "metrics/texts.h"

namespace zoo::metrics {

struct Rouge {
  double rouge1 = 0, rouge2 = 0;  // words, word pairs
  double rouge_l = 0;             // longest common subsequence
  double rouge_lsum = 0;          // the union of those of the lines of a text, which stand for sentences
};

// Of several references the best counts, for each figure by itself. `stem`: words of more than three letters by their Porter stems.
// Throws what check_counts throws, and std::invalid_argument for texts so long that the subsequence's table would not fit.
Rouge rouge(const Texts& hypotheses, const References& references, bool stem = false);

// Porter's stemmer (1980) with the extensions of NLTK, of a lower-case ASCII word.
std::string porter_stem(const std::string& word);

}  // namespace zoo::metrics
