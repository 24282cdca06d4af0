#include "app/files.h"

#include <ftw.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "weights/files.h"

namespace zoo::app {
namespace files_detail {

constexpr int kMaxDepth = 32;
constexpr uint64_t kMaxBytes = 64u << 20;

// Called by the parser for each piece of the text; throws at the first thing that a careless reader would let pass.
struct Watch {
  std::vector<std::set<std::string>> open_objects;

  bool operator()(int depth, Json::parse_event_t event, Json& value) {
    if (depth > kMaxDepth) throw std::runtime_error("nested deeper than " + std::to_string(kMaxDepth) + " levels");
    if (event == Json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == Json::parse_event_t::object_end) open_objects.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto key = value.get<std::string>();
      if (!open_objects.back().insert(key).second) throw std::runtime_error("key \"" + key.substr(0, 80) + "\" occurs twice");
    }
    return true;
  }
};

}  // namespace files_detail

Json read_json(const std::filesystem::path& path) {
  const std::string text = weights::read_text_file(path, files_detail::kMaxBytes);
  try {
    files_detail::Watch watch;
    return Json::parse(text, [&watch](int depth, Json::parse_event_t event, Json& value) { return watch(depth, event, value); });
  } catch (const std::exception& error) {
    throw std::runtime_error(path.string() + ": not a usable JSON file: " + error.what());
  }
}

bool on_disk(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

std::string file_stamp(const std::filesystem::path& file) {
  struct stat s{};
  if (stat(file.c_str(), &s) != 0) throw std::runtime_error(file.string() + ": cannot be read");
  return std::to_string(s.st_size) + "/" + std::to_string(s.st_ino) + "/" + std::to_string(s.st_mtim.tv_sec) + "." +
         std::to_string(s.st_mtim.tv_nsec) + "/" + std::to_string(s.st_ctim.tv_sec) + "." + std::to_string(s.st_ctim.tv_nsec);
}

std::filesystem::path cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::filesystem::path base = cache && *cache ? std::filesystem::path(cache) : std::filesystem::path(home ? home : "/") / ".cache";
  return base / "zoo";
}

void copy_file_atomically(const std::filesystem::path& from, const std::filesystem::path& to) {
  constexpr uint64_t kMaxCopy = 512u << 20;
  std::error_code error;
  if (std::filesystem::equivalent(from, to, error)) return;
  weights::write_file_atomically(to, weights::read_text_file(from, kMaxCopy));
}

void remove_tree(const std::filesystem::path& path, std::error_code& error) {
  error.clear();
  const auto remove = [](const char* name, const struct stat*, int, struct FTW*) { return std::remove(name); };
  constexpr int kFoldersOpen = 16;
  if (::nftw(path.c_str(), remove, kFoldersOpen, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT) error.assign(errno, std::generic_category());
}

void remove_tree(const std::filesystem::path& path) {
  std::error_code error;
  remove_tree(path, error);
  if (error) throw std::filesystem::filesystem_error("cannot be removed", path, error);
}

}  // namespace zoo::app
