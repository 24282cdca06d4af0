#include "tokenizers/sentencepiece_text.h"

#include <algorithm>
#include <charconv>

#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace sentencepiece_text_detail {

constexpr char32_t kMark = 0x2581;
constexpr std::string_view kMarkText = "\xE2\x96\x81";

/// One character of the new text and the place in the old one where it begins.
struct Placed {
  char32_t c;
  size_t from;
};

std::vector<std::pair<std::string_view, uint32_t>> user_defined(const SentencePieceModel& model) {
  std::vector<std::pair<std::string_view, uint32_t>> out;
  for (const auto& piece : model.pieces)
    if (piece.type == SentencePieceModel::user_defined) out.emplace_back(piece.text, 0);
  return out;
}

/// What is well-formed, and one U+FFFD for each byte that is not; leaves `bytes` empty.
void append_bytes(std::string& out, std::string& bytes) {
  for (size_t i = 0; i < bytes.size();) {
    const size_t length = decode_char(bytes, i).bytes;
    const std::string_view character = std::string_view(bytes).substr(i, length);
    if (is_valid_utf8(character)) out += character;
    for (size_t k = 0; k < length && !is_valid_utf8(character); ++k) append_utf8(out, 0xFFFD);
    i += length;
  }
  bytes.clear();
}

/// With a space for each mark.
void append_spaced(std::string& out, std::string_view text) {
  for (size_t at = text.find(kMarkText); at != std::string_view::npos; at = text.find(kMarkText)) {
    out += text.substr(0, at);
    out += ' ';
    text.remove_prefix(at + kMarkText.size());
  }
  out += text;
}

}  // namespace sentencepiece_text_detail

SentencePieceText::SentencePieceText(const SentencePieceModel& model)
    : kept_(sentencepiece_text_detail::user_defined(model)), dummy_prefix_(model.add_dummy_prefix), remove_extra_(model.remove_extra_whitespaces),
      escape_(model.escape_whitespaces), suffix_(model.whitespace_as_suffix) {
  if (!model.charsmap.empty()) map_.emplace(model.charsmap);
}

void SentencePieceText::apply(AlignedText& text) const {
  using namespace sentencepiece_text_detail;
  const std::string_view all = text.text();
  const char32_t space = escape_ ? kMark : U' ';
  std::vector<Placed> out;
  out.reserve(all.size() + 1);
  bool after_space = remove_extra_, started = false;
  size_t i = 0;
  while (i < all.size()) {
    size_t bytes = 0;
    std::string_view by;
    kept_.prefixes(all.substr(i), [&](size_t length, uint32_t) { bytes = length; });
    if (bytes > 0) {
      by = all.substr(i, bytes);
    } else if (const auto match = map_ ? map_->longest(all.substr(i)) : std::nullopt) {
      bytes = match->bytes, by = match->by;
    } else {
      bytes = decode_char(all, i).bytes, by = all.substr(i, bytes);
    }
    if (!started && !(remove_extra_ && by == " ")) {
      started = true;
      if (dummy_prefix_ && !suffix_) out.push_back({space, i});
    }
    while (after_space && by.starts_with(' ')) by.remove_prefix(1);
    for (size_t k = 0; k < by.size();) {
      const auto c = decode_char(by, k);
      out.push_back({c.code_point == ' ' ? space : c.code_point, i});
      k += c.bytes;
    }
    if (!by.empty()) after_space = by.ends_with(' ');
    if (!remove_extra_) after_space = false;
    i += bytes;
  }
  size_t end = all.size();
  while (remove_extra_ && !out.empty() && out.back().c == space) {
    end = out.back().from;
    out.pop_back();
  }
  if (started && dummy_prefix_ && suffix_) out.push_back({space, end});
  AlignedText made;
  made.begin_parts(out.size() * 2);
  for (size_t k = 0; k < out.size(); ++k) {
    const size_t until = k + 1 < out.size() ? out[k + 1].from : end;
    const size_t from = out[k].from < all.size() ? text.source({out[k].from, out[k].from + 1}).begin : text.source({all.size() - 1, all.size()}).end;
    made.append_char(out[k].c, {from, until > 0 ? (until < all.size() ? text.source({until, until + 1}).begin : text.source({until - 1, until}).end) : from});
  }
  text = std::move(made);
}

SentencePieceDecoder::SentencePieceDecoder(const SentencePieceModel& model)
    : unknown_(model.pieces.at(model.unk_id).text), unknown_surface_(model.unk_surface),
      drops_first_(model.add_dummy_prefix || model.remove_extra_whitespaces), drops_all_(model.remove_extra_whitespaces), byte_fallback_(model.byte_fallback) {}

std::vector<std::string> SentencePieceDecoder::apply(std::vector<std::string> tokens) const {
  using namespace sentencepiece_text_detail;
  std::string out, bytes;
  bool at_start = drops_first_;
  for (const auto& token : tokens) {
    unsigned byte = 0;
    if (byte_fallback_ && token.size() == 6 && token.starts_with("<0x") && std::from_chars(token.data() + 3, token.data() + 5, byte, 16).ec == std::errc()) {
      bytes.push_back(static_cast<char>(byte));
      continue;
    }
    append_bytes(out, bytes);
    at_start = at_start && out.empty();
    std::string_view rest = token;
    if (at_start && rest.starts_with(kMarkText)) {
      rest.remove_prefix(kMarkText.size());
      at_start = drops_all_;
    }
    if (token == unknown_) out += unknown_surface_;
    else append_spaced(out, rest);
  }
  append_bytes(out, bytes);
  return {std::move(out)};
}

}  // namespace zoo::tokenizers
