#include "tokenizers/utf8.h"

#include <cstdint>
#include <cstring>

namespace zoo::tokenizers {
namespace utf8_detail {

struct Lead {
  int continuation;  // bytes that follow; -1: cannot start a character
  uint8_t low,
      high;         // allowed values of the first of them (excludes overlong forms, surrogates, > U+10FFFF)
  uint8_t payload;  // mask of the lead's own bits
};

Lead lead_of(uint8_t byte) {
  if (byte < 0x80) return {0, 0, 0, 0x7F};
  if (byte < 0xC2) return {-1, 0, 0, 0};
  if (byte < 0xE0) return {1, 0x80, 0xBF, 0x1F};
  if (byte < 0xF0) {
    return {2, static_cast<uint8_t>(byte == 0xE0 ? 0xA0 : 0x80),
            static_cast<uint8_t>(byte == 0xED ? 0x9F : 0xBF), 0x0F};
  }
  if (byte < 0xF5) {
    return {3, static_cast<uint8_t>(byte == 0xF0 ? 0x90 : 0x80),
            static_cast<uint8_t>(byte == 0xF4 ? 0x8F : 0xBF), 0x07};
  }
  return {-1, 0, 0, 0};
}

}  // namespace utf8_detail

DecodedChar decode_char(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  if (byte(at) < 0x80) return {byte(at), 1, true};
  const auto lead = utf8_detail::lead_of(byte(at));
  if (lead.continuation < 0) return {kReplacement, 1, false};
  char32_t c = byte(at) & lead.payload;
  for (int k = 1; k <= lead.continuation; ++k) {
    const size_t i = at + static_cast<size_t>(k);
    const uint8_t low = k == 1 ? lead.low : 0x80, high = k == 1 ? lead.high : 0xBF;
    if (i >= text.size() || byte(i) < low || byte(i) > high)
      return {kReplacement, static_cast<size_t>(k), false};
    c = c << 6 | (byte(i) & 0x3F);
  }
  return {c, static_cast<size_t>(lead.continuation) + 1, true};
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6), put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 0x3F)), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  }
}

bool is_ascii(std::string_view text) {
  size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    uint64_t chunk;
    std::memcpy(&chunk, text.data() + i, 8);
    if (chunk & 0x8080808080808080ULL) return false;
  }
  for (; i < text.size(); ++i)
    if (static_cast<uint8_t>(text[i]) >= 0x80) return false;
  return true;
}

bool is_valid_utf8(std::string_view text) {
  if (is_ascii(text)) return true;
  for (size_t i = 0; i < text.size();) {
    const auto c = decode_char(text, i);
    if (!c.valid) return false;
    i += c.bytes;
  }
  return true;
}

}  // namespace zoo::tokenizers
