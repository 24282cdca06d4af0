#include "tokenizers/normalizer.h"
#include "tokenizers/unicode.h"
#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace bert_normalizer_detail {

bool is_blank(char32_t c) { return c == '\t' || c == '\n' || c == '\r' || has_property(c, kSpace); }

bool is_removed(char32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  return c == 0 || c == kReplacement || has_property(c, kOther);
}

bool has_ascii_control(const std::string& text) {
  for (const char c : text)
    if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F) return true;
  return false;
}

/// Every byte stays where it is: the common case, several times faster than the general one.
void edit_plain_ascii(std::string& text, const BertNormalizer& options) {
  for (char& c : text) {
    if (options.lowercase && c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
    if (options.clean_text && (c == '\t' || c == '\n' || c == '\r')) c = ' ';
  }
}

void clean(AlignedChars& chars) {
  std::erase_if(chars, [](const AlignedChar& x) { return is_removed(x.c); });
  for (auto& x : chars)
    if (is_blank(x.c)) x.c = ' ';
}

AlignedChars set_ideographs_apart(const AlignedChars& chars) {
  AlignedChars out;
  out.reserve(chars.size());
  for (const auto& x : chars) {
    const bool apart = is_cjk_ideograph(x.c);
    if (apart) out.push_back({' ', x.begin, x.end});
    out.push_back(x);
    if (apart) out.push_back({' ', x.begin, x.end});
  }
  return out;
}

}  // namespace bert_normalizer_detail

void BertNormalizer::apply(AlignedText& text) const {
  namespace detail = bert_normalizer_detail;
  if (text.is_verbatim() && is_ascii(text.text()) &&
      !(clean_text && detail::has_ascii_control(text.text()))) {
    detail::edit_plain_ascii(text.edit_bytes(), *this);
    return;
  }
  AlignedChars chars = text.chars();
  if (clean_text) detail::clean(chars);
  if (handle_chinese_chars) chars = detail::set_ideographs_apart(chars);
  text.assign(chars);
  if (strip_accents) {
    UnicodeForm{}.apply(text);
    chars = text.chars();
    std::erase_if(chars, [](const AlignedChar& x) { return has_property(x.c, kNonspacingMark); });
    text.assign(chars);
  }
  if (lowercase) Lowercase{}.apply(text);
}

}  // namespace zoo::tokenizers
