// Panels: products with a weight that was laid out once for the vector registers, on processors with AVX2 and
// FMA, where neither of LibTorch's libraries comes near the peak (docs/performance.md); with AVX-512 see models/blocks/wide_panels.h. For inference, and for training where
// there are so many rows that laying out costs little beside the product.
//
// The weight is cut into panels of 16 outputs, a panel into blocks of 384 inputs that stay in the first-level cache while up to
// six rows at a time stream past: the scheme of Goto & van de Geijn (ACM TOMS 34(3), 2008). Every output is a sum in one fixed
// order, so a result depends neither on the number of threads nor on the other rows of a batch. What follows a product
// (bias, activation, residual) is done while its numbers are in the cache.
//
// Weights may be kept in bfloat16 while arithmetic stays in float32: that reads half the memory, which is what the time of
// decoding goes into. Or as codes: int8 with one scale for every output and 384 inputs, int4 with one for every output and 64 inputs,
// symmetric, rounded to the nearest. Activations then become whole numbers of 16 bits with one scale a row, whose rounding (2^-16 of the row's
// largest) is lost in that of the weights; products and sums of a block are exact, and two products fit where one float does.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace zoo {

// The activation that follows a product.
enum class Pointwise { none, relu, gelu, gelu_tanh, quick_gelu, silu, tanh };

enum class PanelType { float32, bfloat16, int8, int4 };

class Panels {
 public:
  // Whether this processor can run them.
  static bool possible();

  // weight[o * out_stride + i * in_stride] for o < out, i < in.
  Panels(const float* weight, int64_t out, int64_t in, int64_t out_stride, int64_t in_stride, PanelType type = PanelType::float32);

  // y [rows, out] = after(x [rows, in] W^T + bias [out]) + residual [rows, out]; bias and residual may be null. y may not be
  // any of the inputs.
  void multiply(const float* x, int64_t rows, const float* bias, Pointwise after, const float* residual, float* y) const;

  size_t bytes() const { return bytes_; }
  PanelType type() const { return type_; }

 private:
  struct Free {
    void operator()(void* memory) const;
  };
  int64_t out_, in_;
  PanelType type_;
  size_t bytes_;
  std::unique_ptr<void, Free> memory_;  // [block of inputs][panel][input][16]; of codes see panels_codes.cpp
};

// y [columns, rows] = x [rows, columns] turned. Panels::possible() must hold.
void transpose(const float* x, int64_t rows, int64_t columns, float* y);

// y [rows, columns] = after(y) + residual, in place; residual may be null. Panels::possible() must hold.
void finish_in_place(float* y, int64_t rows, int64_t columns, Pointwise after, const float* residual);

}  // namespace zoo
