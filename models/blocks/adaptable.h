// AdaptableLayer: a layer with one weight, to whose output adapters may add terms of their own (models/blocks/lora.h).
//
// A layer without adapters pays for this with one comparison. An adapter is a module below its layer: its parameters move,
// count and train with the network, and networks need no line of code for it.
#pragma once
#include "models/module.h"

namespace zoo {

class AdaptableLayer;

// What one adapter adds to one layer.
class LayerAdapter : public Module {
 public:
  // y, the layer's output for x with the terms of the adapters before this one, with this one's added.
  virtual Tensor add_to(const Tensor& y, const Tensor& x, AdaptableLayer& layer) = 0;
  // Folds the adapter into the layer's weight, for float32 to rounding: afterwards the layer alone gives what both gave.
  // `base`: the weight before any adapter was folded in, outputs first.
  virtual void merge_into(AdaptableLayer& layer, const Tensor& base) = 0;
  // Once, before inference: computes what depends on weights alone.
  virtual void prepare(AdaptableLayer& /*layer*/) {}
};

class AdaptableLayer : public Module {
 public:
  Tensor weight;  // [out, in, ...]: the last axes are a convolution's kernel; [in, out] in TransposedLinear
  Tensor bias;    // [out] or undefined

  // The weight with its outputs first, in the same memory: other than `weight` where a layer stores it otherwise.
  virtual Tensor outputs_first() const { return weight; }

  // The layer's operation on x with another weight [any, in, ...] of its kind, without bias.
  virtual Tensor product(const Tensor& x, const Tensor& other) = 0;
  // A result of product() [.., any, ..] times a weight [out, any, 1 ...] over the channels alone; `with` may be undefined.
  virtual Tensor mix_channels(const Tensor& x, const Tensor& other, const Tensor& with) = 0;
  // One value per output channel, shaped to be broadcast over the layer's output.
  virtual Tensor per_channel(const Tensor& values) const = 0;

  // Registers an adapter under `name`, which must be new. Terms are added in the order of attaching.
  void attach(const std::string& name, const std::shared_ptr<LayerAdapter>& adapter);
  void prepare_adapters();
  // Folds all adapters into the weight, in order, and lets them go.
  void merge_adapters();
  const std::vector<std::shared_ptr<LayerAdapter>>& adapters() const { return adapters_; }

 protected:
  Tensor adapted(const Tensor& y, const Tensor& x) { return adapters_.empty() ? y : add_adapters(y, x); }

 private:
  Tensor add_adapters(Tensor y, const Tensor& x);
  std::vector<std::shared_ptr<LayerAdapter>> adapters_;
  std::vector<std::string> names_;
};

}  // namespace zoo
