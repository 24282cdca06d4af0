// Shared by the tests of weights/: a folder that vanishes, files from bytes, and the text of an error.
#pragma once

#include <ATen/ATen.h>  // before Catch: its logging header has a CHECK of its own
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include "tests/catch.h"
#include "tests/removal.h"

namespace zoo::weights::testing {

struct TempFolder {
  std::filesystem::path path;
  TempFolder() {
    static std::atomic<int> counter{0};
    path = std::filesystem::temp_directory_path() /
           ("zoo_weights_" + std::to_string(::getpid()) + "_" + std::to_string(counter++));
    std::filesystem::create_directories(path);
  }
  ~TempFolder() {
    std::error_code ignored;
    zoo::app::remove_tree(path, ignored);
  }
  std::filesystem::path operator/(const std::string& name) const { return path / name; }
  size_t files() const {
    const std::filesystem::directory_iterator all(path);
    return static_cast<size_t>(std::distance(begin(all), end(all)));
  }
};

inline std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(ZOO_TEST_DIR) / "fixtures" / "files" / name;
}

inline void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A safetensors file from header text and data, whether or not they fit each other.
inline std::string safetensors_bytes(const std::string& header, const std::string& data = "") {
  const uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

inline bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.nbytes() == b.nbytes() &&
         (a.nbytes() == 0 || std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0);
}

// The message of the exception that `action` throws; fails the test when there is none.
inline std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const std::exception& error) {
    return error.what();
  }
  FAIL("no exception");
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return true;
  UNSCOPED_INFO("\"" << part << "\" is not in: " << text);
  return false;
}

}  // namespace zoo::weights::testing
