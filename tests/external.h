// Real data and checkpoints that tests use when they are there, and say clearly when they are not.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

namespace zoo::test {

inline std::optional<std::filesystem::path> existing(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::exists(path, error) ? std::optional(path) : std::nullopt;
}

// A checkpoint's folder: the one that `variable` names, else where the tools/fetch_<name>.sh puts it.
inline std::optional<std::filesystem::path> checkpoint_folder(const char* variable, const char* name) {
  if (const char* named = std::getenv(variable)) return existing(std::filesystem::path(named) / "config.json") ? existing(named) : std::nullopt;
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const auto base = cache && *cache ? std::filesystem::path(cache) : std::filesystem::path(home ? home : "/") / ".cache";
  return existing(base / "zoo" / name / "config.json") ? existing(base / "zoo" / name) : std::nullopt;
}
inline std::optional<std::filesystem::path> minilm_folder() { return checkpoint_folder("ZOO_MINILM", "minilm"); }
inline std::optional<std::filesystem::path> rxnmapper_folder() { return checkpoint_folder("ZOO_RXNMAPPER", "rxnmapper"); }

// The folder of real data sets: $ZOO_DATA, else ../shared/data beside the source tree.
inline std::optional<std::filesystem::path> data_folder() {
  if (const char* named = std::getenv("ZOO_DATA")) return existing(named);
  return existing(std::filesystem::path(ZOO_TEST_DIR).parent_path().parent_path() / "shared" / "data");
}

}  // namespace zoo::test
