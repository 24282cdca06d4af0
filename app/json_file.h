// JSON files that people write: config.json, recipes, --config.
#pragma once
#include <filesystem>

#include "models/model.h"

namespace zoo::app {

// Strict: at most 64 MB, at most 32 levels deep, no key twice in one object. The order of keys is kept.
// Throws std::runtime_error that names the file and what is wrong with it.
Json read_json(const std::filesystem::path& path);

}  // namespace zoo::app
