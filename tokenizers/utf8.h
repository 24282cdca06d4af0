// UTF-8 to code points and back, with Python's treatment of malformed bytes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace zoo::tokenizers {

constexpr char32_t kReplacement = 0xFFFD;

struct DecodedChar {
  char32_t code_point;
  size_t bytes;  // consumed from the input, at least 1
  bool valid;  // false: code_point is U+FFFD for one malformed sequence (the longest prefix of a well-formed
               // one)
};

/// Decodes the character at text[at]; needs at < text.size().
DecodedChar decode_char(std::string_view text, size_t at);

void append_utf8(std::string& out, char32_t c);

bool is_ascii(std::string_view text);

bool is_valid_utf8(std::string_view text);

}  // namespace zoo::tokenizers
