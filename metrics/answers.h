// Figures of whole answers, as shares 0 .. 1: equal or not, and the words in common.
#pragma once
#include "metrics/texts.h"

namespace zoo::metrics {

// Share of hypotheses that equal one of their references, white space at both ends aside (CodeXGLUE's "Acc").
double exact_match(const Texts& hypotheses, const References& references);

// SQuAD's two figures: small letters, without ASCII punctuation and the articles a, an, the; of several references the best.
// Two texts without words are equal, one without is wrong (SQuAD 2.0's script).
struct Squad {
  double exact_match = 0, f1 = 0;
};
Squad squad(const Texts& hypotheses, const References& references);

}  // namespace zoo::metrics
