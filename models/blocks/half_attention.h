// attend_short() in bfloat16, on processors with AVX512-BF16: keys and values are laid out as wide panels (models/blocks/wide_panels.h), once for a head, so that both
// products are products of rows with panels, two numbers a step. Scores and their softmax are float32; the weights of the values are rounded, before
// their sum divides the result.
#pragma once
#include "models/blocks/short_attention.h"

namespace zoo {

// Whether this processor can, and the width fits (a multiple of 32).
bool attends_halves(const ShortAttention& a);
void attend_halves(const ShortAttention& a, int64_t first, int64_t last);

}  // namespace zoo
