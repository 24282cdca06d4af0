// Files beside the weights: JSON that people write (config.json, recipes), and copies of what a checkpoint carries along.
#pragma once
#include <filesystem>
#include <system_error>

#include "models/model.h"

namespace zoo::app {

// Strict: at most 64 MB, at most 32 levels deep, no key twice in one object. The order of keys is kept.
// Throws std::runtime_error that names the file and what is wrong with it.
Json read_json(const std::filesystem::path& path);

// Whether there is anything of that name; false also for what cannot be looked at.
bool on_disk(const std::filesystem::path& path);
// Changes whenever the contents may have: a copy that keeps the time of its original still has a later ctime. Throws std::runtime_error.
std::string file_stamp(const std::filesystem::path& file);
// Where what can be made again is kept for another run: $XDG_CACHE_HOME/zoo, else ~/.cache/zoo.
std::filesystem::path cache_folder();
// Removes a folder with all that it holds, or a file; a link goes, not what it points to. What is not there is no error.
// (Not std::filesystem::remove_all: LibTorch 2.11 for CUDA exports one of its own, which calls address 0.)
void remove_tree(const std::filesystem::path& path, std::error_code& error);
// Throws std::filesystem::filesystem_error.
void remove_tree(const std::filesystem::path& path);
// Complete or not at all; does nothing when both are the same file. At most 512 MB: the largest tokenizer files have some 40.
void copy_file_atomically(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace zoo::app
