#include <string>

#include "tokenizers/normalizer.h"
#include "tokenizers/regex.h"
#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace make_normalizer_detail {

constexpr auto kSupported =
    "BertNormalizer, ByteLevel, Lowercase, NFC, NFD, NFKC, NFKD, Nmt, Precompiled, Prepend, Replace, Sequence, Strip, "
    "StripAccents";

std::unique_ptr<Normalizer> make_bert(const JsonField& part) {
  auto bert = std::make_unique<BertNormalizer>();
  bert->clean_text = part.boolean_or("clean_text", true);
  bert->handle_chinese_chars = part.boolean_or("handle_chinese_chars", true);
  bert->lowercase = part.boolean_or("lowercase", true);
  bert->strip_accents = part.boolean_or("strip_accents", bert->lowercase);  // null follows lowercase
  return bert;
}

std::unique_ptr<Normalizer> make_form(bool compatibility, bool composed) {
  auto form = std::make_unique<UnicodeForm>();
  form->compatibility = compatibility;
  form->composed = composed;
  return form;
}

std::u32string to_code_points(const std::string& text) {
  std::u32string out;
  for (size_t i = 0; i < text.size();) {
    const auto c = decode_char(text, i);
    out.push_back(c.code_point);
    i += c.bytes;
  }
  return out;
}

std::unique_ptr<Normalizer> make_replace(const JsonField& part) {
  const auto pattern = part.at("pattern");
  const auto content = to_code_points(part.at("content").string());
  if (pattern.has("String")) {
    const std::string literal = pattern.at("String").string();
    if (literal.empty()) pattern.at("String").fail("at least one character");
    return replace_literal(literal, content);
  }
  if (!pattern.has("Regex")) pattern.fail("{\"String\": text} or {\"Regex\": pattern}");
  const auto regex = std::make_shared<Regex>(pattern.at("Regex").string());
  auto replace = std::make_unique<Replace>();
  replace->find = [regex](std::string_view text, std::vector<Span>& matches) { regex->find_all(text, matches); };
  replace->content = content;
  return replace;
}

std::unique_ptr<Normalizer> make_strip(const JsonField& part) {
  auto strip = std::make_unique<Strip>();
  strip->left = part.boolean_or("strip_left", true);
  strip->right = part.boolean_or("strip_right", true);
  return strip;
}

std::unique_ptr<Normalizer> make_prepend(const JsonField& part) {
  auto prepend = std::make_unique<Prepend>();
  prepend->content = to_code_points(part.at("prepend").string());
  return prepend;
}

std::unique_ptr<Normalizer> make_precompiled(const JsonField& part) {
  auto precompiled = std::make_unique<Precompiled>();
  precompiled->map = std::make_shared<CharsMap>(decode_base64(part.at("precompiled_charsmap").string()));
  return precompiled;
}

std::unique_ptr<Normalizer> make_sequence(const JsonField& part) {
  auto sequence = std::make_unique<NormalizerSequence>();
  for (const auto& step : part.at("normalizers").list()) sequence->steps.push_back(make_normalizer(step));
  return sequence;
}

}  // namespace make_normalizer_detail

std::unique_ptr<Normalizer> replace_literal(const std::string& literal, const std::u32string& content) {
  auto replace = std::make_unique<Replace>();
  replace->content = content;
  replace->find = [literal](std::string_view text, std::vector<Span>& matches) {
    for (size_t at = text.find(literal); at != std::string_view::npos; at = text.find(literal, at + literal.size()))
      matches.push_back({at, at + literal.size()});
  };
  return replace;
}

std::unique_ptr<Normalizer> make_normalizer(const JsonField& part) {
  namespace detail = make_normalizer_detail;
  const std::string type = part.at("type").string();
  if (type == "BertNormalizer") return detail::make_bert(part);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "StripAccents") return std::make_unique<StripAccents>();
  if (type == "NFD") return detail::make_form(false, false);
  if (type == "NFC") return detail::make_form(false, true);
  if (type == "NFKD") return detail::make_form(true, false);
  if (type == "NFKC") return detail::make_form(true, true);
  if (type == "Replace") return detail::make_replace(part);
  if (type == "Strip") return detail::make_strip(part);
  if (type == "Prepend") return detail::make_prepend(part);
  if (type == "ByteLevel") return std::make_unique<SpellBytes>();
  if (type == "Nmt") return std::make_unique<Nmt>();
  if (type == "Precompiled") return detail::make_precompiled(part);
  if (type == "Sequence") return detail::make_sequence(part);
  fail_unsupported(part, type, detail::kSupported);
}

void NormalizerSequence::apply(AlignedText& text) const {
  for (const auto& step : steps) step->apply(text);
}

}  // namespace zoo::tokenizers
