#include "weights/loader.h"

#include <algorithm>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "weights/mapped_tensor.h"

namespace zoo::weights {

namespace loader_detail {

// One tensor of the model with every name it is registered under.
struct Slot {
  at::Tensor tensor;
  std::vector<std::string> keys;
  std::vector<at::Tensor> twins;  // further tensor objects on the same memory, tied through set_data
};

using Memory = std::tuple<const void*, std::vector<int64_t>, std::vector<int64_t>>;

std::vector<std::pair<std::string, at::Tensor>> named_tensors(const torch::nn::Module& module) {
  std::vector<std::pair<std::string, at::Tensor>> named;
  for (const auto& item : module.named_parameters()) named.emplace_back(item.key(), item.value());
  for (const auto& item : module.named_buffers()) named.emplace_back(item.key(), item.value());
  named.erase(
      std::remove_if(named.begin(), named.end(), [](const auto& item) { return !item.second.defined(); }),
      named.end());
  return named;
}

std::vector<Slot> slots_of(const torch::nn::Module& module) {
  std::vector<Slot> slots;
  std::unordered_map<const void*, size_t> by_object;
  std::map<Memory, size_t> by_memory;
  for (const auto& [key, tensor] : named_tensors(module)) {
    const auto [object, new_object] = by_object.emplace(tensor.unsafeGetTensorImpl(), slots.size());
    size_t index = object->second;
    if (new_object && tensor.has_storage() && tensor.numel() > 0 && tensor.data_ptr() != nullptr) {
      index =
          by_memory
              .emplace(Memory{tensor.data_ptr(), tensor.sizes().vec(), tensor.strides().vec()}, slots.size())
              .first->second;
      object->second = index;
    }
    if (index == slots.size()) slots.push_back({tensor, {}, {}});
    else if (new_object) slots[index].twins.push_back(tensor);
    slots[index].keys.push_back(key);
  }
  return slots;
}

// What will be written into one slot when the whole report is good.
struct Assignment {
  size_t slot;
  Piece piece;
  at::Tensor adapted;       // instead of the piece, where its shape had to change
  bool own_copy = false;    // the piece also fills another slot
};

class Loader {
 public:
  Loader(torch::nn::Module& module, const Checkpoint& checkpoint, const LoadOptions& options)
      : checkpoint_(checkpoint), options_(options), slots_(slots_of(module)) {
    for (size_t i = 0; i < slots_.size(); ++i) {
      for (const std::string& key : slots_[i].keys) slot_of_.emplace(key, i);
    }
    for (const TensorInfo& info : checkpoint.tensors()) shape_in_file_.emplace(info.name, &info.shape);
    prefix_ = options.base_prefix;
    if (!prefix_.empty() && prefix_.back() != '.') prefix_ += '.';
  }

  LoadReport run() {
    const auto files = checkpoint_.files();
    report_.source = (files.size() == 1 ? files.front() : files.front().parent_path()).string();
    report_.prefix = options_.base_prefix;
    report_.total = static_cast<int64_t>(slots_.size());
    match_keys();
    for (size_t i = 0; i < slots_.size(); ++i) plan(i);
    if (!report_.ok(options_)) throw LoadError(report_);
    for (const Assignment& assignment : assignments_) apply(assignment);
    return report_;
  }

 private:
  // The model's key for a key of the file, or empty text.
  std::string resolve(const std::string& key) {
    if (slot_of_.count(key)) return key;
    if (prefix_.empty()) return "";
    if (slot_of_.count(prefix_ + key)) {
      report_.prefix_added = true;
      return prefix_ + key;
    }
    const bool stripped =
        key.compare(0, prefix_.size(), prefix_) == 0 && slot_of_.count(key.substr(prefix_.size()));
    report_.prefix_stripped = report_.prefix_stripped || stripped;
    return stripped ? key.substr(prefix_.size()) : "";
  }

  void match_keys() {
    MappedKeys keys = map_keys(checkpoint_, options_.layouts);
    report_.layout = keys.layout;
    report_.ignored = keys.ignored;
    for (const auto& [alias, key] : keys.tie) tie_.emplace(alias, key);
    std::unordered_set<std::string> unexpected;
    for (const Piece& piece : keys.pieces) {
      const std::string key = resolve(piece.key);
      const bool taken = !key.empty() && pieces_.emplace(key, piece).second;
      if (!taken && unexpected.insert(piece.source).second) report_.unexpected.push_back(piece.source);
    }
  }

  void plan(size_t index) {
    const Slot& slot = slots_[index];
    const Piece* chosen = nullptr;
    std::string chosen_key;
    for (const std::string& key : slot.keys) {
      const auto found = pieces_.find(key);
      if (found == pieces_.end() || chosen) continue;
      chosen = &found->second;
      chosen_key = key;
    }
    if (!chosen) return plan_tied_by_layout(index);
    for (const std::string& key : slot.keys) {
      if (key != chosen_key) check_alias(key, chosen_key, *chosen);
    }
    assign(index, chosen_key, *chosen, false);
  }

  // The file lacks this tensor under all its names; a layout may say which other one holds its values.
  void plan_tied_by_layout(size_t index) {
    for (const std::string& key : slots_[index].keys) {
      const auto tie = tie_.find(key);
      const auto piece = tie == tie_.end() ? pieces_.end() : pieces_.find(tie->second);
      if (piece == pieces_.end()) continue;
      report_.tied.push_back(key + " = " + tie->second);
      return assign(index, key, piece->second, true);
    }
    report_.missing.push_back(slots_[index].keys.front());
  }

  void check_alias(const std::string& alias, const std::string& key, const Piece& chosen) {
    const auto found = pieces_.find(alias);
    if (found == pieces_.end()) {
      report_.tied.push_back(alias + " = " + key);
      return;
    }
    const at::Tensor one = chosen.get(checkpoint_), other = found->second.get(checkpoint_);
    const bool same = one.scalar_type() == other.scalar_type() && one.sizes() == other.sizes() &&
                      (one.data_ptr() == other.data_ptr() || at::equal(one, other));
    if (!same) report_.tied_differ.push_back(alias + " = " + key);
  }

  void assign(size_t index, const std::string& key, const Piece& piece, bool own_copy) {
    const at::Tensor& wanted = slots_[index].tensor;
    const std::vector<int64_t> shape = piece.shape(*shape_in_file_.at(piece.source));
    Assignment assignment{index, piece, {}, own_copy};
    if (at::IntArrayRef(shape) != wanted.sizes()) {
      assignment.adapted =
          options_.adapt ? options_.adapt(key, piece.get(checkpoint_), wanted.sizes()) : at::Tensor();
      if (!assignment.adapted.defined() || assignment.adapted.sizes() != wanted.sizes()) {
        report_.mismatched.push_back({key, shape, wanted.sizes().vec()});
        return;
      }
      report_.adapted.push_back(key);
    }
    assignments_.push_back(std::move(assignment));
    ++report_.loaded;
  }

  // One tensor at a time, so that a conversion holds no more than one tensor twice.
  void apply(const Assignment& assignment) {
    Slot& slot = slots_[assignment.slot];
    at::Tensor value = assignment.adapted.defined() ? assignment.adapted : assignment.piece.get(checkpoint_);
    if (value.is_complex() != slot.tensor.is_complex()) {
      throw std::runtime_error(report_.source + ": " + assignment.piece.source + " is " + dtype_text(value) +
                               ", the model's " + slot.keys.front() + " is " + dtype_text(slot.tensor));
    }
    const bool converts = options_.dtype && slot.tensor.is_floating_point();
    const at::ScalarType dtype = converts ? *options_.dtype : slot.tensor.scalar_type();
    value = value.to(slot.tensor.device(), dtype, /*non_blocking=*/false, /*copy=*/assignment.own_copy)
                .contiguous();
    slot.tensor.set_data(value);
    for (at::Tensor& twin : slot.twins) twin.set_data(value);
  }

  static std::string dtype_text(const at::Tensor& tensor) { return c10::toString(tensor.scalar_type()); }

  const Checkpoint& checkpoint_;
  const LoadOptions& options_;
  std::vector<Slot> slots_;
  std::unordered_map<std::string, size_t> slot_of_;
  std::unordered_map<std::string, const std::vector<int64_t>*> shape_in_file_;
  std::unordered_map<std::string, Piece> pieces_;  // by the model's key
  std::unordered_map<std::string, std::string> tie_;
  std::vector<Assignment> assignments_;
  std::string prefix_;
  LoadReport report_;
};

}  // namespace loader_detail

LoadReport load(torch::nn::Module& module, const Checkpoint& checkpoint, const LoadOptions& options) {
  at::NoGradGuard no_grad;
  return loader_detail::Loader(module, checkpoint, options).run();
}

NamedTensors state_dict(const torch::nn::Module& module, bool with_aliases) {
  NamedTensors tensors;
  std::unordered_set<const void*> seen;
  for (const auto& [key, tensor] : loader_detail::named_tensors(module)) {
    const bool first = seen.insert(tensor.unsafeGetTensorImpl()).second;
    if (first || with_aliases) tensors.emplace_back(key, tensor.detach());
  }
  return tensors;
}

}  // namespace zoo::weights
