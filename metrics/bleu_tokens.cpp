// sacreBLEU's tokenizers. Each step stands for one substitution of the reference: left to right, what is replaced is not read again.
#include <stdexcept>

#include "metrics/bleu.h"

namespace zoo::metrics {
namespace bleu_tokens_detail {

bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }
bool is_stop(char32_t c) { return c == '.' || c == ','; }
// Western punctuation but for . , - and the apostrophe.
bool is_mark(char32_t c) {
  return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') || (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') || (c >= ':' && c <= '@') || c == '/';
}

void replace_all(std::u32string& text, std::u32string_view what, std::u32string_view by) {
  for (size_t place = 0; (place = text.find(what, place)) != std::u32string::npos; place += by.size()) text.replace(place, what.size(), by);
}

template <class Test>
std::u32string set_apart(const std::u32string& text, Test test) {
  std::u32string result;
  for (const char32_t c : text) {
    if (test(c)) result += {U' ', c, U' '};
    else result.push_back(c);
  }
  return result;
}

enum class Spaces { after_each, before_each };  // "a b " or " a b"

// Every pair of neighbours that passes the tests is spaced out.
template <class First, class Second>
std::u32string space_pairs(const std::u32string& text, First first, Second second, Spaces spaces) {
  std::u32string result;
  size_t i = 0;
  for (; i + 1 < text.size(); ++i) {
    if (!first(text[i]) || !second(text[i + 1])) {
      result.push_back(text[i]);
      continue;
    }
    if (spaces == Spaces::after_each) result += {text[i], U' ', text[i + 1], U' '};
    else result += {U' ', text[i], U' ', text[i + 1]};
    ++i;
  }
  if (i < text.size()) result.push_back(text[i]);
  return result;
}

std::u32string western(std::u32string text) {
  replace_all(text, U"<skipped>", U"");
  replace_all(text, U"-\n", U"");
  replace_all(text, U"\n", U" ");
  for (const auto& [entity, meaning] : {std::pair{U"&quot;", U"\""}, {U"&amp;", U"&"}, {U"&lt;", U"<"}, {U"&gt;", U">"}}) replace_all(text, entity, meaning);
  const auto no_digit = [](char32_t c) { return !is_digit(c); };
  text = set_apart(U" " + text + U" ", is_mark);
  text = space_pairs(text, no_digit, is_stop, Spaces::after_each);
  text = space_pairs(text, is_stop, no_digit, Spaces::before_each);
  return space_pairs(text, is_digit, [](char32_t c) { return c == '-'; }, Spaces::after_each);
}

std::u32string international(std::u32string text) {
  const auto no_number = [](char32_t c) { return !is_number(c); };
  text = space_pairs(text, no_number, is_punctuation, Spaces::after_each);
  text = space_pairs(text, is_punctuation, no_number, Spaces::before_each);
  return set_apart(text, is_symbol);
}

}  // namespace bleu_tokens_detail

BleuTokenizer bleu_tokenizer(const std::string& name) {
  if (name == "13a") return BleuTokenizer::v13a;
  if (name == "none") return BleuTokenizer::none;
  if (name == "char") return BleuTokenizer::character;
  if (name == "intl") return BleuTokenizer::international;
  throw std::invalid_argument("BLEU's tokenizer is '" + name + "'; expected 13a, none, char or intl");
}

std::vector<std::u32string> bleu_tokens(std::string_view line, BleuTokenizer tokenizer) {
  namespace d = bleu_tokens_detail;
  std::u32string text = decode(line);
  while (!text.empty() && is_space(text.back())) text.pop_back();
  switch (tokenizer) {
    case BleuTokenizer::v13a: return split(d::western(std::move(text)));
    case BleuTokenizer::international: return split(d::international(std::move(text)));
    case BleuTokenizer::character: return split(d::set_apart(text, [](char32_t) { return true; }));
    case BleuTokenizer::none: break;
  }
  return split(text);
}

}  // namespace zoo::metrics
