// Model: the contract between a network and everything that runs, trains, checks or embeds it.
#pragma once
#include <ATen/ATen.h>

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/blocks/packed_weight.h"
#include "models/module.h"

namespace zoo {

using Json = nlohmann::ordered_json;

// Named tensors, with a fixed vocabulary.
// Inputs:  image [B,C,H,W], volume [B,C,D,H,W], tokens [B,T] int64, token_types [B,T] int64, mask [B,T] bool (true = keep),
//          series [B,L,C] (the lookback), series_time [B,L,F] and future_time [B,H,F] (calendar features of the lookback and
//          of the horizon), future_exogenous [B,H,E] (what is known of the future), points [B,N,3], audio [B,S],
//          features [B,T,F], graph.edges [2,E], labels, target [B,H,C], decoder_tokens [B,U] int64 (what a decoder has read),
//          pair_tokens [B,T] and pair_mask [B,T] (a second text, for networks that read two apart),
//          prompt_places [B,T] bool (tokens whose place a learned prompt takes).
// Outputs: logits, hidden [B,T,D], pooled [B,D], embedding [B,D], boxes, masks, forecast [B,H,C], audio;
//          start_logits and end_logits [B,T] (an answer's span);
//          distribution.{weight,df,loc,scale} [B,H,C,K] (a mixture of K Student-t; without df: normal) or
//          distribution.{weight,total_count,logits} [B,H,C,K] (of K negative binomials, for counts) beside a forecast.
using Tensors = std::map<std::string, at::Tensor>;

// The tensor of that name, or an undefined one.
at::Tensor optional_input(const Tensors& inputs, const char* name);

struct Model : Module {
  // Reads the inputs it knows, ignores the rest, returns its outputs. Safe for concurrent calls in eval mode.
  virtual Tensors forward(const Tensors& inputs) = 0;

  // Fresh starting values as the reference gives them. The default asks every layer for its own (PyTorch's).
  virtual void init_weights() { init_modules(); }

  // A checkpoint's tensor whose shape is not the model's, made to fit (a position table of another image size, say), or
  // an undefined tensor when there is no published way to do so.
  virtual at::Tensor adapt(const std::string& /*key*/, const at::Tensor& /*from_file*/, at::IntArrayRef /*wanted*/) { return {}; }

  // Once, after loading and before inference only: packs weights for faster layers, in the given precision. Training afterwards is
  // an error.
  // `done` hears of each weight that now has a packed copy, so that its owner may let its memory go to disk.
  void prepare_for_inference(const std::function<void(const at::Tensor& weight)>& done = nullptr, Precision precision = Precision::float32);

 protected:
  void init_modules();
};

// One input of a network: symbolic shape such as {"B", "T"}; dtype "float32", "int64" or "bool"; values lie in [low, high).
// A symbol that names a number of the config (e.g. "image_size") takes it; "B", "T", "U" (a decoder's length), "F" (calendar
// features), "H" and "W" (a picture's height and width) are free.
struct InputSpec {
  std::string name;
  std::vector<std::string> shape;
  std::string dtype = "float32";
  double low = -1.0, high = 1.0;
};

// Throws std::invalid_argument that names the network, the input, what was given and what is wanted, when one that the
// network reads is missing, has another number of axes, or another fixed size. Optional: mask, pair_mask, token_types, *_time.
void check_inputs(const std::string& model, const std::vector<InputSpec>& specs, const Tensors& inputs);

// What the registry knows of one network beyond its JSON card: how to build it and what it eats.
struct Entry {
  std::string name;  // = file name = namespace = fixture name
  std::function<std::shared_ptr<Model>(const Json& config)> make;  // throws std::invalid_argument for a bad config
  std::function<std::vector<InputSpec>(const Json& config)> inputs;
};

}  // namespace zoo
