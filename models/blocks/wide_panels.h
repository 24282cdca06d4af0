// WidePanels: products with a weight that was laid out once, on processors with AVX-512: the scheme of Panels (models/blocks/panels.h) with 32
// outputs to a panel and up to 8 rows at a time, 16 of the 32 registers holding sums.
//
// One step takes 32 bits of a row and, for each output, 32 bits of the weight, whatever they hold; so three precisions are one kernel:
//   float32   one input a step;
//   bfloat16  two (AVX512-BF16): rows are rounded as they come, sums are float32;
//   int8      four (VNNI): weights of one scale an output, symmetric; rows become whole numbers from 0 to 255 as they come, each with a scale and
//             a zero of its own, so that a row depends on no other; products and sums are exact.
// Every output is a sum in one fixed order: a result depends neither on the number of threads nor on the other rows of a batch.
//
// Where the processor has AMX, bfloat16 and int8 are multiplied by its tiles, whatever the number of rows (models/blocks/wide_amx.h): the same sums in int8, sums in another
// fixed order in bfloat16.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

#include "models/blocks/panels.h"

namespace zoo {

class WidePanels {
 public:
  // Whether this processor has the instructions; of the types of PanelType all but int4.
  static bool possible(PanelType type);
  // Whether products of that type are AMX's tiles here and not AVX-512's registers (models/blocks/wide_amx.h).
  static bool by_tiles(PanelType type);
  // Of int8: more would overflow sums of 32 bits.
  static constexpr int64_t kMostInputs = 65536;

  // weight[o * out_stride + i * in_stride] for o < out, i < in. `segment`: of inputs that lie together in a row of patches (multiply_patches), or all.
  WidePanels(const float* weight, int64_t out, int64_t in, int64_t out_stride, int64_t in_stride, PanelType type = PanelType::float32, int64_t segment = 0);  // 0: all

  // What one weight makes of the rows: y [rows, out] = after(x W^T + bias) + residual; bias and residual may be null.
  struct Share {
    const WidePanels* weight;
    const float* bias;
    Pointwise after;
    const float* residual;
    void* y;    // float32, or
    bool half;  // bfloat16: not of panels in float32, where possible(bfloat16), and without a residual
  };
  // All shares, which have one type and as many inputs, of the same x [rows, in]: float32, or with `half` bfloat16 (not of panels in float32; of bfloat16 with an even number of inputs).
  static void multiply(const void* x, bool half, int64_t rows, const Share* shares, size_t count);
  // As Panels::multiply.
  void multiply(const float* x, int64_t rows, const float* bias, Pointwise after, const float* residual, float* y) const;

  // y [rows, out] = x W^T on the calling thread alone, for x in the type of the panels, float32 or bfloat16 (an even number of inputs).
  void multiply_here(const void* x, int64_t rows, float* y) const;

  // A convolution of pictures [count, height, width, channels] with a square kernel, zeros around it (kernel / 2), and a weight [out, kernel, kernel, channels]:
  // y [count, height / stride, width / stride, out] (rounded up) = after(convolution + bias + residual). Patches are read where they lie in a copy with its zeros; a
  // patch's lines are its segments.
  struct Pictures {
    const void* data;  // float32, or
    bool half;         // bfloat16: of panels in that alone
    int64_t count, height, width, channels, kernel, stride;
  };
  // residual, which may be null, and y are float32, or bfloat16 with `half` (as a Share's).
  void multiply_patches(const Pictures& x, const float* bias, Pointwise after, const void* residual, void* y, bool half) const;
  // Whether a weight of such a type, so many inputs and such a segment can do that.
  static bool takes_patches(PanelType type, int64_t in, int64_t segment);

 private:
  struct Free {
    void operator()(void* memory) const;
  };
  int64_t out_, in_;
  PanelType type_;
  int64_t block_;                                // steps of a block
  std::unique_ptr<void, Free> memory_;           // [block of steps][panel][step][32] x 32 bits
  std::unique_ptr<float[]> scales_, sums_;       // of int8, [panels * 32]: scale of an output, scale times the sum of its codes
};

}  // namespace zoo
