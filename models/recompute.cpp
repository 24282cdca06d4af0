#include "models/recompute.h"

#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>

#include "models/module.h"

namespace zoo {
namespace recompute_detail {

// A generator's state, put back for a second run, and then what it was before.
class Generators {
 public:
  explicit Generators(std::optional<at::Device> accelerator) : accelerator_(accelerator) { save(cpu_, device_); }
  template <class Action>
  auto replay(Action action) const {
    at::Tensor cpu, device;
    save(cpu, device);
    restore(cpu_, device_);
    auto result = action();
    restore(cpu, device);
    return result;
  }

 private:
  void save(at::Tensor& cpu, at::Tensor& device) const {
    cpu = state(at::kCPU);
    if (accelerator_) device = state(*accelerator_);
  }
  void restore(const at::Tensor& cpu, const at::Tensor& device) const {
    set(at::kCPU, cpu);
    if (accelerator_) set(*accelerator_, device);
  }
  static at::Tensor state(at::Device device) {
    auto generator = at::globalContext().defaultGenerator(device);
    const std::lock_guard lock(generator.mutex());
    return generator.get_state();
  }
  static void set(at::Device device, const at::Tensor& state) {
    auto generator = at::globalContext().defaultGenerator(device);
    const std::lock_guard lock(generator.mutex());
    generator.set_state(state);
  }
  const std::optional<at::Device> accelerator_;
  at::Tensor cpu_, device_;
};

// Mixed precision as it was in the first run, and without its cache: a cast of a weight that was made without gradients
// must not be found by those that need them.
class Casting {
 public:
  Casting(at::DeviceType device, bool enabled, at::ScalarType type) : device_(device) {
    at::autocast::set_autocast_enabled(device, enabled);
    at::autocast::set_autocast_dtype(device, type);
    at::autocast::set_autocast_cache_enabled(false);
  }
  ~Casting() {
    at::autocast::set_autocast_enabled(device_, enabled_);
    at::autocast::set_autocast_dtype(device_, type_);
    at::autocast::set_autocast_cache_enabled(cached_);
  }
  Casting(const Casting&) = delete;
  Casting& operator=(const Casting&) = delete;

 private:
  const at::DeviceType device_;
  const bool enabled_ = at::autocast::is_autocast_enabled(device_);
  const at::ScalarType type_ = at::autocast::get_autocast_dtype(device_);
  const bool cached_ = at::autocast::is_autocast_cache_enabled();
};

// What a second run needs besides the tensors that autograd keeps.
struct Call : torch::CustomClassHolder {
  Forward forward;
  std::vector<bool> defined;  // which inputs are; the others stay undefined
  size_t inputs = 0;          // so many of the saved tensors are inputs, the rest are parameters
  std::optional<Generators> generators;
  at::DeviceType device = at::kCPU;
  bool casting = false;
  at::ScalarType type = at::kFloat;

  at::Tensor run(const std::vector<at::Tensor>& tensors) const {
    std::vector<at::Tensor> all;
    size_t next = 0;
    for (const bool is_there : defined) all.push_back(is_there ? tensors[next++] : at::Tensor());
    const Casting as_then(device, casting, type);
    return forward(all);
  }
};

struct Function : torch::autograd::Function<Function> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const c10::intrusive_ptr<Call>& call, at::TensorList tensors) {
    context->saved_data["call"] = c10::IValue::make_capsule(call);
    context->save_for_backward(tensors.vec());
    return call->run({tensors.begin(), tensors.begin() + static_cast<std::ptrdiff_t>(call->inputs)});
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list gradients) {
    const auto capsule = context->saved_data["call"].toCapsule();
    const auto& call = static_cast<const Call&>(*capsule);
    auto tensors = context->get_saved_variables();
    std::vector<at::Tensor> inputs, wanted;
    std::vector<size_t> places;
    for (size_t i = 0; i < tensors.size(); ++i) {
      const bool needed = tensors[i].requires_grad();
      if (i < call.inputs) {
        tensors[i] = tensors[i].detach();
        if (needed) tensors[i].set_requires_grad(true);
        inputs.push_back(tensors[i]);
      }
      if (!needed) continue;
      wanted.push_back(tensors[i]);
      places.push_back(i);
    }
    const at::AutoGradMode with_gradients(true);
    const at::Tensor output = call.generators ? call.generators->replay([&] { return call.run(inputs); }) : call.run(inputs);
    const auto found = torch::autograd::grad({output}, wanted, gradients, std::nullopt, /*create_graph=*/false, /*allow_unused=*/true);
    torch::autograd::variable_list result(1 + tensors.size());  // the first stands for `call`
    for (size_t k = 0; k < places.size(); ++k) result[1 + places[k]] = found[k];
    return result;
  }
};

at::Tensor run(const torch::nn::Module& module, const std::vector<at::Tensor>& inputs, const Forward& forward) {
  auto call = c10::make_intrusive<Call>();
  std::vector<at::Tensor> tensors;
  for (const auto& input : inputs) {
    call->defined.push_back(input.defined());
    if (input.defined()) tensors.push_back(input);
  }
  call->inputs = tensors.size();
  std::unordered_set<const void*> seen;  // tied weights are registered more than once
  for (const auto& parameter : module.parameters()) {
    if (parameter.requires_grad() && seen.insert(parameter.unsafeGetTensorImpl()).second) tensors.push_back(parameter);
  }
  if (tensors.empty()) return forward(inputs);
  const at::Device device = tensors.front().device();
  call->forward = forward;
  if (module.is_training()) call->generators.emplace(device.is_cpu() ? std::nullopt : std::optional<at::Device>(device));
  call->device = device.type();
  call->casting = at::autocast::is_autocast_enabled(device.type());
  call->type = at::autocast::get_autocast_dtype(device.type());
  return Function::apply(call, at::TensorList(tensors));
}

bool number(const std::string& text) { return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos; }

bool has_statistics(const torch::nn::Module& module) {
  for (const auto& item : module.named_buffers()) {
    if (item.key().ends_with("running_mean")) return true;
  }
  return false;
}

}  // namespace recompute_detail

int64_t recompute_layers(torch::nn::Module& network, bool on) {
  int64_t count = 0;
  for (const auto& item : network.named_children()) {
    auto* layer = dynamic_cast<Module*>(item.value().get());
    if (layer && recompute_detail::number(item.key()) && !recompute_detail::has_statistics(*layer)) {
      layer->recomputed = on;
      ++count;
    } else {
      count += recompute_layers(*item.value(), on);
    }
  }
  return count;
}

}  // namespace zoo
