// LoRA and DoRA as adapters of a layer, in the shapes of Python's peft 0.21.
//
// LoRA (Hu et al., 2021, arXiv:2106.09685): y + s B(A(dropout(x))), with A [r, in, ...], B [out, r, 1 ...].
// DoRA (Liu et al., 2024, arXiv:2402.09353): the columns of W + s B A get the learned lengths m. The length they have is
// taken as a constant in training (section 4.3).
#pragma once
#include "models/blocks/adaptable.h"

namespace zoo {

struct LoraShape {
  int64_t rank;
  double scaling;        // s: alpha / r, or alpha / sqrt(r), times the adapter's weight in a sum
  double dropout = 0.0;  // on x, in training
  bool with_bias = false;  // B has a bias, which s scales too
};

class LoraImpl : public LayerAdapter {
 public:
  LoraImpl(const LoraShape& shape, const AdaptableLayer& layer);
  Tensor add_to(const Tensor& y, const Tensor& x, AdaptableLayer& layer) override;
  void merge_into(AdaptableLayer& layer, const Tensor& base) override;
  void init() override;           // A as PyTorch's linear layers, uniform in +-1/sqrt(in); B and its bias zero
  void init_gaussian();           // A normal with deviation 1/r
  Tensor delta() const;           // s B A in the shape of the layer's weight

  LoraShape shape;
  Tensor a, b, b_bias;  // lora_A.weight, lora_B.weight, lora_B.bias

 protected:
  Tensor drop(const Tensor& x) const;
  bool drops() const { return is_training() && shape.dropout > 0.0; }
};

class DoraImpl : public LoraImpl {
 public:
  DoraImpl(const LoraShape& shape, const AdaptableLayer& layer);
  Tensor add_to(const Tensor& y, const Tensor& x, AdaptableLayer& layer) override;
  void merge_into(AdaptableLayer& layer, const Tensor& base) override;
  void prepare(AdaptableLayer& layer) override;
  void init_magnitude(const AdaptableLayer& layer);  // m = the lengths that W + s B A has

  Tensor magnitude;  // lora_magnitude_vector: [out], of a convolution [1, out, 1 ...]

 private:
  Tensor scale(const Tensor& base) const;  // [out]: m / |W + s B A|
  Tensor prepared_;                        // scale(), once weights do not change any more
};

}  // namespace zoo
