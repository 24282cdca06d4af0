#include "tokenizers/charsmap.h"

#include <cstring>
#include <stdexcept>

#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace charsmap_detail {

uint32_t offset_of(uint32_t unit) { return (unit >> 10) << ((unit & (1U << 9)) >> 6); }
uint32_t label_of(uint32_t unit) { return unit & (1U << 31 | 0xFF); }
bool has_value(uint32_t unit) { return unit >> 8 & 1; }

int sextet(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}

}  // namespace charsmap_detail

CharsMap::CharsMap(std::string_view table) {
  uint32_t bytes = 0;
  if (table.size() < sizeof bytes) throw std::runtime_error("precompiled_charsmap has " + std::to_string(table.size()) + " bytes; at least 4 are needed");
  std::memcpy(&bytes, table.data(), sizeof bytes);
  if (bytes % 4 != 0 || bytes == 0 || bytes > table.size() - sizeof bytes) {
    throw std::runtime_error("precompiled_charsmap says that its trie has " + std::to_string(bytes) + " bytes; " +
                             std::to_string(table.size() - sizeof bytes) + " are there (is the file complete?)");
  }
  units_.resize(bytes / 4);
  std::memcpy(units_.data(), table.data() + sizeof bytes, bytes);
  texts_ = table.substr(sizeof bytes + bytes);
  if (!is_valid_utf8(texts_)) throw std::runtime_error("precompiled_charsmap replaces characters by text that is not UTF-8");
  for (int c = 0; c < 128; ++c) {
    const char text = static_cast<char>(c);
    const uint32_t root = charsmap_detail::offset_of(units_[0]) ^ static_cast<uint32_t>(c);
    plain_[c] = c != 0 && !(root < units_.size() && charsmap_detail::label_of(units_[root]) == static_cast<uint8_t>(text));
  }
}

std::optional<CharsMap::Match> CharsMap::find(std::string_view text, bool first) const {
  namespace detail = charsmap_detail;
  std::optional<Match> match;
  uint32_t node = detail::offset_of(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    node ^= byte;
    if (byte == 0 || node >= units_.size() || detail::label_of(units_[node]) != byte) break;
    const uint32_t unit = units_[node];
    node ^= detail::offset_of(unit);
    if (!detail::has_value(unit)) continue;
    const uint32_t at = node < units_.size() ? units_[node] & 0x7FFFFFFF : static_cast<uint32_t>(texts_.size());
    if (at >= texts_.size()) break;
    const size_t end = texts_.find('\0', at);
    std::string_view by = std::string_view(texts_).substr(at, end == std::string::npos ? end : end - at);
    if (!by.empty() && (static_cast<uint8_t>(by[0]) & 0xC0) == 0x80) break;  // points into the middle of a character
    match = Match{i + 1, by};
    if (first) break;
  }
  return match;
}

std::string decode_base64(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int value = charsmap_detail::sextet(c);
    if (value < 0) throw std::runtime_error("precompiled_charsmap is not base64");
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out.push_back(static_cast<char>(bits >> count & 0xFF));
  }
  return out;
}

}  // namespace zoo::tokenizers
