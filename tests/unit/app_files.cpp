#include "app/files.h"

#include <unistd.h>

#include <fstream>

#include "app/machine.h"
#include "tests/catch.h"
#include "weights/files.h"

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

TEST_CASE("pages of a mapped file are given back, those that were written to stay", "[files]") {
  const fs::path path = fs::temp_directory_path() / ("pages." + std::to_string(::getpid()));
  constexpr uint64_t kBytes = 64 << 20;
  {
    std::ofstream out(path, std::ios::binary);
    for (uint64_t i = 0; i < kBytes / 8; ++i) out.write(reinterpret_cast<const char*>(&i), 8);
  }
  const auto file = zoo::weights::MappedFile::open(path);
  auto* const bytes = reinterpret_cast<uint8_t*>(file->at(0));
  std::vector<uint8_t> wanted(bytes, bytes + kBytes);
  for (const uint64_t at : {uint64_t{0}, kBytes / 2, kBytes - 1}) bytes[at] = wanted[at] = 77;
  const uint64_t before = resident_bytes();
  release_pages(bytes, kBytes);
  CHECK(resident_bytes() + kBytes * 3 / 4 < before);
  CHECK(std::equal(wanted.begin(), wanted.end(), bytes));
  release_pages(bytes + kBytes / 2, 1);
  CHECK(std::equal(wanted.begin(), wanted.end(), bytes));
  CHECK(wanted[8] == 1);
  fs::remove(path);
}
}  // namespace app_files_tests
