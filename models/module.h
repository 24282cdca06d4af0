// Module: torch::nn::Module with registration that keeps a layer's name, type and size on one line.
//
//   Linear query = add("attention.self.query", Linear(hidden, hidden));
//
// A dotted path makes the empty scopes in between, so member paths are the checkpoint's keys and no mapping table exists.
#pragma once
#include <ATen/ATen.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/recompute.h"
#include "models/trace.h"

namespace zoo {
using at::Tensor;

class Module : public torch::nn::Module {
 public:
  // Gives freshly constructed parameters their starting values. Layers hold PyTorch's defaults; a network that starts
  // otherwise (most do) walks its modules in Model::init_weights. Not called when a checkpoint is loaded.
  virtual void init() {}

  bool recomputed = false;  // keeps no intermediates for backward: set by recompute_layers (models/recompute.h)

 protected:
  // Registers a child under a dotted path and returns it.
  template <class Child>
  Child add(const std::string& path, Child child) {
    auto [scope, name] = scope_of(path);
    scope->register_module(name, child.ptr());
    return child;
  }
  // Registers make(0) ... make(count - 1) under path.0, path.1, ...
  template <class Make>
  auto add_n(const std::string& path, int64_t count, Make make) {
    std::vector<decltype(make(int64_t{0}))> children;
    for (int64_t i = 0; i < count; ++i) children.push_back(add(path + "." + std::to_string(i), make(i)));
    return children;
  }
  // A parameter of the given shape, uninitialised until init() or a checkpoint fills it.
  Tensor param(const std::string& path, at::IntArrayRef shape, bool trained = true) {
    auto [scope, name] = scope_of(path);
    return scope->register_parameter(name, at::empty(shape), trained);
  }
  // A persistent buffer: part of the checkpoint, not trained.
  Tensor buffer(const std::string& path, Tensor value) {
    auto [scope, name] = scope_of(path);
    return scope->register_buffer(name, std::move(value));
  }
  // Registers an existing parameter a second time (tied weights): one tensor, two checkpoint keys.
  void tie(const std::string& path, Tensor parameter) {
    auto [scope, name] = scope_of(path);
    scope->register_parameter(name, std::move(parameter));
  }
  // Records x as the output of the scope `path` when a trace is being taken (models/trace.h). Modules record their own
  // outputs; this is for the reference's modules that are only a scope here.
  Tensor mark(const std::string& path, Tensor x) {
    if (Trace::active()) Trace::record(scope_at(path).get(), x);
    return x;
  }

 private:
  std::shared_ptr<torch::nn::Module> scope_at(const std::string& path);
  std::pair<torch::nn::Module*, std::string> scope_of(const std::string& path);
};

// A shared pointer to a module with value looks; calling it runs forward and lets a trace see the result.
template <class Impl>
class Holder : public torch::nn::ModuleHolder<Impl> {
 public:
  using torch::nn::ModuleHolder<Impl>::ModuleHolder;
  template <class... Args>
  auto operator()(Args&&... args) {
    auto result = call(std::forward<Args>(args)...);
    if (Trace::active()) Trace::record(this->get(), result);
    return result;
  }

 private:
  template <class... Args>
  auto call(Args&&... args) {
    using Result = decltype(this->get()->forward(std::forward<Args>(args)...));
    if constexpr (std::is_base_of_v<Module, Impl> && std::is_same_v<Result, Tensor> && (recompute_detail::kPlain<Args> && ...)) {
      if (this->get()->recomputed && at::GradMode::is_enabled() && !Trace::active()) return recompute_detail::call(*this->get(), args...);
    }
    return this->get()->forward(std::forward<Args>(args)...);
  }
};

}  // namespace zoo

// Block from BlockImpl, as TORCH_MODULE, with zoo's holder.
#define ZOO_MODULE(Name)                            \
  class Name : public ::zoo::Holder<Name##Impl> {   \
   public:                                          \
    using ::zoo::Holder<Name##Impl>::Holder;        \
    using Impl [[maybe_unused]] = Name##Impl;       \
  }
