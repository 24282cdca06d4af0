#include "data/image_folder.h"

#include <algorithm>
#include <array>
#include <set>
#include <stdexcept>

#include "data/image.h"

namespace zoo::data {
namespace folder_detail {
namespace fs = std::filesystem;

struct SplitName {
  const char* split;
  std::array<const char*, 3> folders;
};
constexpr std::array<SplitName, 3> kSplits = {{{"train", {"train", "training", "train"}},
                                               {"validation", {"validation", "val", "valid"}},
                                               {"test", {"test", "testing", "test"}}}};

fs::path split_folder(const fs::path& folder, const std::string& split) {
  if (split.empty()) return folder;
  for (const auto& known : kSplits) {
    if (split != known.split) continue;
    for (const char* name : known.folders) {
      if (fs::is_directory(folder / name)) return folder / name;
    }
  }
  throw std::runtime_error(folder.string() + ": has no split '" + split + "' (expected a folder of that name with one folder per class)");
}

bool hidden(const fs::path& path) { return path.filename().string().starts_with("."); }

std::vector<std::string> class_folders(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory() && !hidden(entry.path())) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<fs::path> pictures_below(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() && !hidden(entry.path()) && is_image_name(entry.path())) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace folder_detail

std::vector<std::string> image_folder_splits(const std::filesystem::path& folder) {
  std::vector<std::string> found;
  for (const auto& known : folder_detail::kSplits) {
    const auto& names = known.folders;
    if (std::any_of(names.begin(), names.end(), [&](const char* name) { return std::filesystem::is_directory(folder / name); })) {
      found.push_back(known.split);
    }
  }
  // A lone class may be called "train" (the vehicle): splits hold folders, classes hold pictures.
  for (const auto& split : found) {
    if (folder_detail::class_folders(folder_detail::split_folder(folder, split)).empty()) return {};
  }
  return found;
}

ImageFiles list_image_folder(const std::filesystem::path& folder, const std::string& split) {
  namespace d = folder_detail;
  if (!std::filesystem::is_directory(folder)) throw std::runtime_error(folder.string() + ": no such folder (expected pictures as DIR/<class>/*.png)");
  const auto chosen = d::split_folder(folder, split);
  std::set<std::string> names;
  for (const auto& other : image_folder_splits(folder)) {
    if (split.empty()) break;
    for (auto& name : d::class_folders(d::split_folder(folder, other))) names.insert(std::move(name));
  }
  for (auto& name : d::class_folders(chosen)) names.insert(std::move(name));
  if (names.empty()) throw std::runtime_error(chosen.string() + ": holds no class folders (expected pictures as DIR/<class>/*.png)");

  ImageFiles result;
  result.classes.assign(names.begin(), names.end());
  for (size_t label = 0; label < result.classes.size(); ++label) {
    const auto place = chosen / result.classes[label];
    if (!std::filesystem::is_directory(place)) continue;
    for (auto& file : d::pictures_below(place)) {
      result.files.push_back(std::move(file));
      result.labels.push_back(static_cast<int64_t>(label));
    }
  }
  if (result.files.empty()) throw std::runtime_error(chosen.string() + ": its class folders hold no pictures (.png, .jpg, .bmp, .webp, .tif, .ppm)");
  return result;
}

}  // namespace zoo::data
