#include "app/engine/checkpoints.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "app/engine/peft.h"
#include "app/files.h"
#include "weights/files.h"

namespace zoo::app {
namespace fs = std::filesystem;
namespace checkpoints_detail {

constexpr const char* kUnfinished = ".partial";

fs::path folder_of(const fs::path& run) { return run / "checkpoints"; }

std::string name_of(int64_t step) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "step-%08lld", static_cast<long long>(step));
  return text.data();
}

// A rename is on the disk when the folder that holds the name is.
void sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

// At every moment one of the two is there under its name. (A step is saved twice when no step lies between two reasons to save.)
void replace_folder(const fs::path& fresh, const fs::path& target) {
  if (!on_disk(target)) return fs::rename(fresh, target);
  if (::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) != 0) remove_tree(target), fs::rename(fresh, target);
  std::error_code ignored;
  remove_tree(fresh, ignored);
}

// Half-written files in the run's folder (weights/files.h names them so), half-written or half-removed checkpoints.
void remove_unfinished(const fs::path& run) {
  std::error_code ignored;
  for (const auto& item : fs::directory_iterator(run)) {
    if (item.is_regular_file() && item.path().filename().string().find(".tmp.") != std::string::npos) fs::remove(item.path(), ignored);
  }
  if (!fs::is_directory(folder_of(run), ignored)) return;
  for (const auto& item : fs::directory_iterator(folder_of(run))) {
    if (item.path().extension() == kUnfinished) remove_tree(item.path(), ignored);
  }
}

weights::NamedTensors named(const Tensors& tensors) {
  weights::NamedTensors list;
  for (const auto& [name, tensor] : tensors) list.emplace_back(name, tensor.detach().cpu().contiguous());
  return list;
}

TrainingState read_state(const fs::path& folder) {
  TrainingState state;
  state.values = read_json(folder / "training_state.json");
  const auto file = weights::Checkpoint::open(folder / "training_state.safetensors");
  for (const auto& info : file.tensors()) state.tensors[info.name] = file.get(info.name);
  return state;
}

}  // namespace checkpoints_detail

void save_checkpoint(const fs::path& run, int64_t step, const Bundle& bundle, const TrainingState& state, int64_t keep) {
  namespace d = checkpoints_detail;
  const fs::path folder = d::folder_of(run) / d::name_of(step), working = folder.string() + d::kUnfinished;
  try {
    fs::create_directories(d::folder_of(run));
    remove_tree(working);
    save_bundle(bundle, working);
    weights::save_safetensors(working / "training_state.safetensors", d::named(state.tensors));
    weights::write_file_atomically(working / "training_state.json", state.values.dump(2) + "\n");
  } catch (const std::exception& error) {  // a full disk, most likely: give back what was taken
    std::error_code ignored;
    remove_tree(working, ignored);
    const auto before = list_checkpoints(run);
    if (before.empty()) throw;
    throw std::runtime_error(error.what() + ("\n" + before.back().string()) + " is whole: when the cause is removed, zoo train --resume " + run.string() + " goes on from it");
  }
  d::sync_folder(working);
  d::replace_folder(working, folder);
  d::sync_folder(d::folder_of(run));
  const auto all = list_checkpoints(run);
  if (keep == 0) return;
  for (size_t i = 0; i + static_cast<size_t>(keep) < all.size(); ++i) {
    // Renamed first: a removal that is cut off must not leave a folder that looks complete.
    const fs::path old = all[i].string() + d::kUnfinished;
    fs::rename(all[i], old);
    remove_tree(old);
  }
}

std::vector<fs::path> list_checkpoints(const fs::path& run) {
  std::vector<fs::path> found;
  std::error_code ignored;
  const fs::path folder = checkpoints_detail::folder_of(run);
  if (!fs::is_directory(folder, ignored)) return found;
  for (const auto& item : fs::directory_iterator(folder)) {
    const std::string name = item.path().filename().string();
    if (name.starts_with("step-") && item.path().extension() != checkpoints_detail::kUnfinished) found.push_back(item.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

void remove_checkpoints(const fs::path& run) {
  std::error_code ignored;
  remove_tree(checkpoints_detail::folder_of(run), ignored);
}

std::optional<Resumable> newest_checkpoint(const fs::path& run) {
  checkpoints_detail::remove_unfinished(run);
  auto all = list_checkpoints(run);
  for (; !all.empty(); all.pop_back()) {
    try {
      return Resumable{all.back(), checkpoints_detail::read_state(all.back())};
    } catch (const std::exception& error) {
      spdlog::warn("{}: cannot be resumed ({})", all.back().string(), error.what());
    }
  }
  return std::nullopt;
}

void restore_network(Bundle& bundle, const fs::path& checkpoint) {
  const at::NoGradGuard no_grad;
  if (weights::is_adapter_folder(checkpoint)) return restore_adapter(bundle, weights::load_adapter(checkpoint));
  const auto file = weights::Checkpoint::open(checkpoint);
  for (const auto& [key, tensor] : weights::state_dict(*bundle.model, /*with_aliases=*/false)) {
    const at::Tensor saved = file.get(key);
    if (saved.sizes() != tensor.sizes()) {
      throw std::runtime_error(checkpoint.string() + ": tensor '" + key + "' has another shape than the network of the recipe");
    }
    at::Tensor(tensor).copy_(saved);
  }
}

}  // namespace zoo::app
