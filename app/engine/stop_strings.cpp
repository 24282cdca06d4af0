#include "app/engine/stop_strings.h"

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "tokenizers/byte_alphabet.h"

namespace zoo::app {
namespace stop_strings_detail {

// Decoders treat the first token of a text in their own ways; what comes after this is what a token adds.
constexpr const char* kBefore = "abcdef";

// The one byte that "<0x41>" stands for.
std::optional<std::string> fallback_byte(const std::string& token) {
  const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>' || digit(token[3]) < 0 || digit(token[4]) < 0) return std::nullopt;
  return std::string(1, static_cast<char>(digit(token[3]) * 16 + digit(token[4])));
}

}  // namespace stop_strings_detail

StopStrings::StopStrings(std::vector<std::string> texts, const tokenizers::Tokenizer& tokenizer) : texts_(std::move(texts)), tokenizer_(tokenizer) {
  for (const auto& text : texts_) {
    if (text.empty()) throw std::invalid_argument("stop_strings holds an empty text, which every token completes");
    longest_ = std::max(longest_, text.size());
  }
  base_ = tokenizer_.encode_bare(stop_strings_detail::kBefore).ids;
  base_text_ = tokenizer_.decode(base_, /*skip_special=*/false);
}

const std::string& StopStrings::piece(int64_t id) {
  const auto known = pieces_.find(id);
  if (known != pieces_.end()) return known->second;
  std::vector<int64_t> ids = base_;
  ids.push_back(id);
  const std::string text = tokenizer_.decode(ids, /*skip_special=*/false);
  std::string added = text.starts_with(base_text_) ? text.substr(base_text_.size()) : text;
  if (added.find("\xEF\xBF\xBD") != std::string::npos) {  // a part of a character: its bytes
    const std::string token = tokenizer_.id_to_token(id);
    if (const auto byte = stop_strings_detail::fallback_byte(token)) added = *byte;
    else if (const auto bytes = tokenizers::letters_to_bytes(token)) added = *bytes;
  }
  return pieces_.emplace(id, std::move(added)).first->second;
}

bool StopStrings::completed(const std::vector<int64_t>& before, int64_t token) {
  const std::string last = piece(token);
  if (last.empty()) return false;
  std::string text;
  for (auto id = before.rbegin(); id != before.rend() && text.size() + 1 < longest_; ++id) text = piece(*id) + text;
  const size_t begin = text.size();
  text += last;
  for (const auto& stop : texts_) {
    const size_t from = begin + 1 > stop.size() ? begin + 1 - stop.size() : 0;  // so that it ends inside the last token
    if (text.find(stop, from) != std::string::npos) return true;
  }
  return false;
}

}  // namespace zoo::app
