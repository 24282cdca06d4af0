// SHA-256 (FIPS 180-4): names contents by their bytes, for caches and for comparing files.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace zoo::app {

class Sha256 {
 public:
  void add(std::string_view bytes);
  std::string hex();  // 64 digits; nothing may be added afterwards

 private:
  void block(const unsigned char* bytes);
  std::array<uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> rest_{};
  uint64_t length_ = 0;  // bytes so far
};

std::string sha256(std::string_view bytes);
// Reads the file in pieces. Throws std::runtime_error when it cannot be read.
std::string sha256_of_file(const std::filesystem::path& file);

}  // namespace zoo::app
