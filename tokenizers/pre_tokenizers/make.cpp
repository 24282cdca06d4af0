#include "tokenizers/pre_tokenizer.h"
#include "tokenizers/regex.h"
#include "tokenizers/unicode.h"
#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace make_pre_tokenizer_detail {

constexpr auto kSupported =
    "BertPreTokenizer, ByteLevel, CharDelimiterSplit, Digits, FixedLength, Metaspace, Punctuation, Sequence, Split, Whitespace, "
    "WhitespaceSplit";

/// Finds single characters with a property.
Split::Find find_characters(bool (*wanted)(char32_t)) {
  return [wanted](std::string_view text, std::vector<Span>& matches) {
    for (size_t i = 0; i < text.size();) {
      const auto c = decode_char(text, i);
      if (wanted(c.code_point)) matches.push_back({i, i + c.bytes});
      i += c.bytes;
    }
  };
}

Split::Find find_literal(std::string literal) {
  return [literal = std::move(literal)](std::string_view text, std::vector<Span>& matches) {
    for (size_t at = text.find(literal); at != std::string_view::npos; at = text.find(literal, at + literal.size()))
      matches.push_back({at, at + literal.size()});
  };
}

Split::Find find_pattern(const JsonField& pattern) {
  if (pattern.has("String")) {
    auto literal = pattern.at("String").string();
    if (literal.empty()) pattern.at("String").fail("at least one character");
    return find_literal(std::move(literal));
  }
  if (!pattern.has("Regex")) pattern.fail("{\"String\": text} or {\"Regex\": pattern}");
  auto regex = std::make_shared<Regex>(pattern.at("Regex").string());
  return [regex](std::string_view text, std::vector<Span>& matches) { regex->find_all(text, matches); };
}

Delimiter read_delimiter(const JsonField& part) {
  const auto behavior = part.at("behavior");
  const std::string name = behavior.string();
  if (name == "Removed") return Delimiter::removed;
  if (name == "Isolated") return Delimiter::isolated;
  if (name == "MergedWithPrevious") return Delimiter::merged_with_previous;
  if (name == "MergedWithNext") return Delimiter::merged_with_next;
  if (name == "Contiguous") return Delimiter::contiguous;
  behavior.fail("Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

char32_t read_character(const JsonField& field) {
  const std::string text = field.string();
  if (text.empty() || decode_char(text, 0).bytes != text.size()) field.fail("one character");
  return decode_char(text, 0).code_point;
}

std::unique_ptr<PreTokenizer> make_split(Split::Find find, Delimiter delimiter, bool invert = false) {
  auto split = std::make_unique<Split>();
  split->find = std::move(find);
  split->delimiter = delimiter;
  split->invert = invert;
  return split;
}

std::unique_ptr<PreTokenizer> make_byte_level(const JsonField& part) {
  auto level = std::make_unique<ByteLevel>();
  level->add_prefix_space = part.boolean_or("add_prefix_space", true);
  level->use_regex = part.boolean_or("use_regex", true);
  return level;
}

std::unique_ptr<PreTokenizer> make_fixed_length(const JsonField& part) {
  auto fixed = std::make_unique<FixedLength>();
  if (part.has("length")) fixed->length = part.at("length").id();
  if (fixed->length == 0) part.at("length").fail("at least 1");
  return fixed;
}

}  // namespace make_pre_tokenizer_detail

std::unique_ptr<Metaspace> make_metaspace(const JsonField& part) {
  auto metaspace = std::make_unique<Metaspace>();
  metaspace->replacement = make_pre_tokenizer_detail::read_character(part.at("replacement"));
  const std::string scheme = part.string_or("prepend_scheme", "always");
  if (scheme == "first") metaspace->prepend = Metaspace::Prepend::first;
  else if (scheme == "never") metaspace->prepend = Metaspace::Prepend::never;
  else if (scheme != "always") part.at("prepend_scheme").fail("always, first or never");
  if (!part.boolean_or("add_prefix_space", true)) {  // the older way to say it
    if (part.has("prepend_scheme") && scheme != "never") part.at("add_prefix_space").fail("true, or prepend_scheme \"never\"");
    metaspace->prepend = Metaspace::Prepend::never;
  }
  metaspace->split = part.boolean_or("split", true);
  return metaspace;
}

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonField& part) {
  namespace detail = make_pre_tokenizer_detail;
  const std::string type = part.at("type").string();
  if (type == "BertPreTokenizer") return std::make_unique<BertPreTokenizer>();
  if (type == "Whitespace") return std::make_unique<Whitespace>();
  if (type == "WhitespaceSplit") return std::make_unique<WhitespaceSplit>();
  if (type == "ByteLevel") return detail::make_byte_level(part);
  if (type == "Metaspace") return make_metaspace(part);
  if (type == "Split") return detail::make_split(detail::find_pattern(part.at("pattern")), detail::read_delimiter(part), part.boolean_or("invert", false));
  if (type == "Digits") {
    const auto numeric = [](char32_t c) { return has_property(c, kNumeric); };
    return detail::make_split(detail::find_characters(numeric),
                              part.boolean_or("individual_digits", false) ? Delimiter::isolated : Delimiter::contiguous);
  }
  if (type == "Punctuation") {
    const auto punctuation = [](char32_t c) { return has_property(c, kPunctuation); };
    return detail::make_split(detail::find_characters(punctuation), part.has("behavior") ? detail::read_delimiter(part) : Delimiter::isolated);
  }
  if (type == "CharDelimiterSplit") {
    const auto delimiter = part.at("delimiter");
    detail::read_character(delimiter);
    return detail::make_split(detail::find_literal(delimiter.string()), Delimiter::removed);
  }
  if (type == "FixedLength") return detail::make_fixed_length(part);
  if (type == "Sequence") {
    auto sequence = std::make_unique<PreTokenizerSequence>();
    for (const auto& step : part.at("pretokenizers").list())
      sequence->steps.push_back(make_pre_tokenizer(step));
    return sequence;
  }
  fail_unsupported(part, type, detail::kSupported);
}

void PreTokenizerSequence::apply(Pieces& pieces) const {
  for (const auto& step : steps) step->apply(pieces);
}

}  // namespace zoo::tokenizers
