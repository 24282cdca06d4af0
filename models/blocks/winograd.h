// Convolutions with a 3 x 3 kernel and stride 1 by Winograd's algorithm F(2 x 2, 3 x 3) (Lavin & Gray, 2016, arXiv:1509.09308, section 4.1): 2 x 2 results come of 16 products
// of the 4 x 4 numbers below them, instead of 36. Those products are 16 of rows with a weight (WidePanels), one for each place of the 4 x 4: a row for each 2 x 2 results.
//
// In float32 and bfloat16, on processors with AVX-512. Sums and differences of what is read and of the results are float32; in bfloat16 what goes into the products is rounded.
// Results depend neither on threads nor on the other pictures. What is no number spoils the 2 x 2 results around it.
#pragma once
#include <vector>

#include "models/blocks/wide_panels.h"

namespace zoo {

class Winograd {
 public:
  // Channels are multiples of 16; the transformed weight has 16 numbers for 9, so that beyond 256 channels, where pictures are small, reading it would take longer than it saves.
  static bool possible(PanelType type, int64_t out, int64_t channels);

  Winograd(const float* weight, int64_t out, int64_t channels, PanelType type);  // weight [out, 3, 3, channels], dense
  // As WidePanels::multiply_patches.
  void convolve(const WidePanels::Pictures& x, const float* bias, Pointwise after, const void* residual, void* y, bool half) const;

 private:
  int64_t out_, channels_;
  PanelType type_;
  std::vector<WidePanels> places_;  // 16 of [out, channels]
};

}  // namespace zoo
