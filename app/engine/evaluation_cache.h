// EvaluationCache: figures that were measured before, found by the contents of everything that decides them.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "models/model.h"

namespace zoo::app {

class EvaluationCache {
 public:
  // Keeps one JSON file for each result, and hashes.json, in `folder` (made when the first result is stored).
  explicit EvaluationCache(std::filesystem::path folder);
  // $XDG_CACHE_HOME/zoo/evaluations, else ~/.cache/zoo/evaluations.
  static std::filesystem::path default_folder();

  // SHA-256 over the contents of a file, or over the names and contents of all files under a folder. Remembered by size,
  // inode and times of change, so that only what changed is read again. Throws std::runtime_error for what cannot be read.
  std::string identity(const std::filesystem::path& path);
  // The same for a checkpoint: what a network is built from (config, weights, tokenizer, preprocessor, adapter and, where an
  // adapter names a folder, its base), without the log, report and older states that a training left beside it.
  std::string checkpoint_identity(const std::filesystem::path& folder);

  // `key` is whatever decides the result, as JSON. A file that cannot be used counts as absent, with a warning.
  std::optional<Json> find(const Json& key) const;
  void store(const Json& key, const Json& document);  // complete or not at all; a failure is a warning: the figures stand

 private:
  std::filesystem::path file_of(const Json& key) const;
  std::string remembered(const std::filesystem::path& file);
  std::string combined(const std::filesystem::path& folder, const std::vector<std::filesystem::path>& files);
  void save_hashes();
  std::filesystem::path folder_;
  Json hashes_ = Json::object();  // absolute path -> [stamp, sha256]
  bool changed_ = false;
};

}  // namespace zoo::app
