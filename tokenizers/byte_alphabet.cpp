#include "tokenizers/byte_alphabet.h"

#include <array>

#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace byte_alphabet_detail {

constexpr char32_t kFirstOther = 0x100, kOthers = 68;

bool prints(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<char32_t, 256> letters;
  std::array<uint8_t, kOthers> others;  // bytes of U+0100 onwards
  Alphabet() {
    size_t next = 0;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      letters[byte] = prints(byte) ? byte : kFirstOther + static_cast<char32_t>(next);
      if (!prints(byte)) others[next++] = static_cast<uint8_t>(byte);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet made;
  return made;
}

}  // namespace byte_alphabet_detail

char32_t byte_to_letter(uint8_t byte) { return byte_alphabet_detail::alphabet().letters[byte]; }

std::optional<uint8_t> letter_to_byte(char32_t letter) {
  namespace detail = byte_alphabet_detail;
  if (letter < 256) return detail::prints(letter) ? std::optional(static_cast<uint8_t>(letter)) : std::nullopt;
  if (letter >= detail::kFirstOther + detail::kOthers) return std::nullopt;
  return detail::alphabet().others[letter - detail::kFirstOther];
}

std::optional<std::string> letters_to_bytes(std::string_view token) {
  std::string bytes;
  for (size_t i = 0; i < token.size();) {
    const auto c = decode_char(token, i);
    const auto byte = letter_to_byte(c.code_point);
    if (!byte) return std::nullopt;
    bytes.push_back(static_cast<char>(*byte));
    i += c.bytes;
  }
  return bytes;
}

}  // namespace zoo::tokenizers
