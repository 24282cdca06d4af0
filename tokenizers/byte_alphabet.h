// The 256 printable characters that stand for bytes in byte-level vocabularies (GPT-2, Radford et al. 2019): those of
// Latin-1 that print stand for themselves, the others for U+0100 onwards; a space is U+0120.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace zoo::tokenizers {

char32_t byte_to_letter(uint8_t byte);
/// Empty: not a letter of the alphabet.
std::optional<uint8_t> letter_to_byte(char32_t letter);
/// The bytes that a token stands for; empty when one of its characters is not of the alphabet.
std::optional<std::string> letters_to_bytes(std::string_view token);

}  // namespace zoo::tokenizers
