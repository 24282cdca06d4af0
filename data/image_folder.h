// Folders of pictures: DIR/<class>/*.png, or DIR/<split>/<class>/*.png with splits train, validation (val, valid) and test.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace zoo::data {

struct ImageFiles {
  std::vector<std::string> classes;  // names of the class folders, sorted by bytes
  std::vector<std::filesystem::path> files;  // class by class, sorted by name within
  std::vector<int64_t> labels;       // index into `classes`, one per file
};

// The splits of the folder by their usual names ("train", "validation", "test"); empty when the classes lie in DIR itself.
std::vector<std::string> image_folder_splits(const std::filesystem::path& folder);

// All picture files (by extension) of a split, searched below each class folder; `split` empty: DIR itself holds the classes.
// The classes are those of all splits together, so that every split numbers them alike. Hidden files are passed over.
// Throws std::runtime_error when the folder or the split is missing, or holds no class folder or no picture.
ImageFiles list_image_folder(const std::filesystem::path& folder, const std::string& split);

}  // namespace zoo::data
