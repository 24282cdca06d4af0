#include "models/module.h"

namespace zoo {
namespace {

// An empty module between two dots of a path.
struct Scope : torch::nn::Module {};

std::shared_ptr<torch::nn::Module> child_scope(torch::nn::Module& parent, const std::string& name) {
  const auto children = parent.named_children();
  if (const auto* found = children.find(name)) return *found;
  return parent.register_module(name, std::make_shared<Scope>());
}

}  // namespace

std::pair<torch::nn::Module*, std::string> Module::scope_of(const std::string& path) {
  torch::nn::Module* scope = this;
  size_t begin = 0;
  for (size_t dot; (dot = path.find('.', begin)) != std::string::npos; begin = dot + 1) {
    scope = child_scope(*scope, path.substr(begin, dot - begin)).get();
  }
  return {scope, path.substr(begin)};
}

std::shared_ptr<torch::nn::Module> Module::scope_at(const std::string& path) {
  auto [scope, name] = scope_of(path);
  return child_scope(*scope, name);
}

}  // namespace zoo
