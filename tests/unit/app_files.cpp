#include "app/files.h"

#include <unistd.h>

#include <fstream>

#include "tests/catch.h"

namespace app_files_tests {
using namespace zoo::app;
namespace fs = std::filesystem;

TEST_CASE("a folder goes with all that it holds, but not what its links point to", "[files]") {
  const fs::path base = fs::temp_directory_path() / ("tree." + std::to_string(::getpid()));
  fs::create_directories(base / "gone" / "deep" / "deeper");
  std::ofstream(base / "kept.txt") << "kept";
  std::ofstream(base / "gone" / "deep" / "deeper" / "a.txt") << "a";
  std::ofstream(base / "gone" / ".hidden") << "b";
  fs::create_directory_symlink(base, base / "gone" / "up");
  fs::create_symlink(base / "nowhere", base / "gone" / "dangling");
  remove_tree(base / "gone");
  CHECK_FALSE(fs::exists(base / "gone"));
  CHECK(fs::exists(base / "kept.txt"));
  remove_tree(base / "kept.txt");
  CHECK_FALSE(fs::exists(base / "kept.txt"));
  CHECK_NOTHROW(remove_tree(base / "never was"));
  remove_tree(base);
  CHECK_FALSE(fs::exists(base));
}

TEST_CASE("a folder that cannot be removed is named", "[files]") {
  CHECK_THROWS_AS(remove_tree("/proc/self/fd"), fs::filesystem_error);
  std::error_code error;
  remove_tree("/proc/self/fd", error);
  CHECK(error);
}
}  // namespace app_files_tests
