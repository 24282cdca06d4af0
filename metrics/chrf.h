// chrF (Popovic, 2015): F-score of character n-grams; chrF++ (2017) adds words and word pairs.
#pragma once
#include "metrics/texts.h"

namespace zoo::metrics {

// As sacreBLEU 2: characters to order 6 without white space, beta 2, the best reference of each segment; 0 .. 100.
// word_order 0: chrF; 2: chrF++. Throws what check_counts throws.
double chrf(const Texts& hypotheses, const References& references, size_t word_order = 0);

}  // namespace zoo::metrics
