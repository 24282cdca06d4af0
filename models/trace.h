// Trace: records what each module of a network returns during one forward pass, for parity fixtures and `zoo verify`.
// Inactive (the normal state) it costs one thread-local read per module call.
#pragma once
#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace zoo {

class Trace {
 public:
  // Records until destroyed, on this thread. One at a time.
  explicit Trace(const torch::nn::Module& root);
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  struct Step {
    std::string path;  // dotted, relative to the root
    at::Tensor value;
  };
  // In the order in which the modules returned; a module that ran twice appears twice.
  const std::vector<Step>& steps() const { return steps_; }

  static bool active() { return current_ != nullptr; }
  static void record(const torch::nn::Module* module, const at::Tensor& value);
  // Of several results the first tensor counts, as in the fixture writer.
  template <class First, class... Rest>
  static void record(const torch::nn::Module* module, const std::tuple<First, Rest...>& values) {
    record(module, std::get<0>(values));
  }
  template <class First, class Second>
  static void record(const torch::nn::Module* module, const std::pair<First, Second>& values) {
    record(module, values.first);
  }
  template <class Other>
  static void record(const torch::nn::Module*, const Other&) {}

 private:
  static thread_local Trace* current_;
  std::unordered_map<const torch::nn::Module*, std::string> paths_;
  std::vector<Step> steps_;
};

}  // namespace zoo
