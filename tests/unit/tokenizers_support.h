// Helpers of the tokenizer tests.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/removal.h"
#include "tokenizers/tokenizer.h"

namespace tokenizer_tests {

/// A new folder under the system's temporary one; gone at the end of the scope.
struct TemporaryFolder {
  std::filesystem::path path;
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "zoo_tokenizer_XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("cannot make the folder " + name);
    path = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    zoo::app::remove_tree(path, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& write(const std::string& name, const std::string& text) const {
    std::ofstream(path / name, std::ios::binary) << text;
    return path;
  }
};

inline nlohmann::json read_fixture(const std::string& name) {
  std::ifstream file(std::filesystem::path(ZOO_TEST_DIR) / "fixtures/tokenizers" / name);
  return nlohmann::json::parse(file);
}

}  // namespace tokenizer_tests
