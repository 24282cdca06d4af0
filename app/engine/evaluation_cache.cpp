#include "app/engine/evaluation_cache.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <ctime>

#include "app/engine/peft_plan.h"
#include "app/files.h"
#include "app/sha256.h"
#include "weights/files.h"

namespace zoo::app {
namespace evaluation_cache_detail {
namespace fs = std::filesystem;

// Clocks of file systems tick every few milliseconds: what changed just now may change again and show the same times.
bool just_changed(const fs::path& file) {
  struct stat s{};
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (stat(file.c_str(), &s) != 0) return true;
  const auto age = [&](const timespec& t) { return static_cast<double>(now.tv_sec - t.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec - t.tv_nsec); };
  return age(s.st_ctim) < 0.1 || age(s.st_mtim) < 0.1;
}

std::vector<fs::path> files_under(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& item : fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink)) {
    if (item.is_regular_file()) files.push_back(item.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool left_by_training(const fs::path& inside) {
  const std::string first = inside.begin()->string(), name = inside.filename().string();
  for (const char* folder : {"checkpoints", "report", "tensorboard"}) {
    if (first == folder) return true;
  }
  for (const char* file : {"recipe.json", "results.json", "log.jsonl", "report.html", "README.md"}) {
    if (name == file) return true;
  }
  return name.starts_with("training_state.") || name.starts_with(".");
}

}  // namespace evaluation_cache_detail

EvaluationCache::EvaluationCache(std::filesystem::path folder) : folder_(std::move(folder)) {
  if (!on_disk(folder_ / "hashes.json")) return;
  try {
    Json read = read_json(folder_ / "hashes.json");
    if (read.is_object()) hashes_ = std::move(read);
  } catch (const std::exception& error) {
    spdlog::warn("{} (it is made anew)", error.what());
  }
}

std::filesystem::path EvaluationCache::default_folder() {
  return cache_folder() / "evaluations";
}

std::string EvaluationCache::remembered(const std::filesystem::path& file) {
  const std::string name = std::filesystem::absolute(file).lexically_normal().string(), stamp = file_stamp(file);
  const auto known = hashes_.find(name);
  if (known != hashes_.end() && known->is_array() && known->size() == 2 && (*known)[0] == stamp && (*known)[1].is_string()) {
    return (*known)[1].get<std::string>();
  }
  const bool unsettled = evaluation_cache_detail::just_changed(file);
  const std::string hash = sha256_of_file(file);
  if (unsettled) return hash;
  hashes_[name] = {stamp, hash};
  changed_ = true;
  return hash;
}

std::string EvaluationCache::combined(const std::filesystem::path& folder, const std::vector<std::filesystem::path>& files) {
  Sha256 hash;
  for (const auto& file : files) hash.add(file.lexically_relative(folder).string() + '\0' + remembered(file) + '\n');
  save_hashes();
  return hash.hex();
}

std::string EvaluationCache::identity(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) return combined(path, evaluation_cache_detail::files_under(path));
  const std::string hash = remembered(path);
  save_hashes();
  return hash;
}

std::string EvaluationCache::checkpoint_identity(const std::filesystem::path& folder) {
  namespace d = evaluation_cache_detail;
  auto files = d::files_under(folder);
  std::erase_if(files, [&](const auto& file) { return d::left_by_training(file.lexically_relative(folder)); });
  const std::string own = combined(folder, files);
  const auto base = weights::is_adapter_folder(folder) ? base_of_adapter(folder) : std::filesystem::path();
  return base.empty() ? own : sha256(own + identity(base));
}

std::filesystem::path EvaluationCache::file_of(const Json& key) const {
  return folder_ / (sha256(key.dump(-1, ' ', false, Json::error_handler_t::replace)) + ".json");
}

std::optional<Json> EvaluationCache::find(const Json& key) const {
  const auto file = file_of(key);
  if (!on_disk(file)) return std::nullopt;
  try {
    Json entry = read_json(file);
    if (entry.at("key") == key && entry.at("document").at("metrics").is_object()) return std::make_optional<Json>(entry["document"]);
    spdlog::warn("{}: is not the entry that its name says; measuring again", file.string());
  } catch (const std::exception& error) {
    spdlog::warn("{}; measuring again", error.what());
  }
  return std::nullopt;
}

void EvaluationCache::store(const Json& key, const Json& document) {
  try {
    std::filesystem::create_directories(folder_);
    const Json entry = {{"key", key}, {"document", document}};
    weights::write_file_atomically(file_of(key), entry.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
  } catch (const std::exception& error) {
    spdlog::warn("the figures could not be kept for another time: {}", error.what());
  }
}

void EvaluationCache::save_hashes() {
  if (!changed_) return;
  changed_ = false;
  try {
    std::filesystem::create_directories(folder_);
    weights::write_file_atomically(folder_ / "hashes.json", hashes_.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
  } catch (const std::exception& error) {
    spdlog::warn("hashes of files could not be kept for another time: {}", error.what());
  }
}

}  // namespace zoo::app
