// The Porter stemmer (An algorithm for suffix stripping, 1980), with Martin Porter's later changes and those of NLTK, which
// rouge_score uses.
#include <functional>
#include <map>
#include <string_view>

#include "metrics/rouge.h"

namespace zoo::metrics {
namespace porter_detail {

bool is_vowel_letter(char c) { return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u'; }

// A y is a consonant at the beginning and after a vowel.
std::vector<bool> consonants(std::string_view word) {
  std::vector<bool> flags;
  for (const char c : word) flags.push_back(c == 'y' ? flags.empty() || !flags.back() : !is_vowel_letter(c));
  return flags;
}

// m in [C](VC){m}[V].
int measure(std::string_view stem) {
  const auto flags = consonants(stem);
  int count = 0;
  for (size_t i = 1; i < flags.size(); ++i) count += !flags[i - 1] && flags[i];
  return count;
}

bool contains_vowel(std::string_view stem) {
  for (const bool consonant : consonants(stem))
    if (!consonant) return true;
  return false;
}

bool ends_in_consonant(std::string_view word) { return !word.empty() && consonants(word).back(); }

bool ends_double_consonant(std::string_view word) {
  return word.size() >= 2 && word[word.size() - 1] == word[word.size() - 2] && ends_in_consonant(word);
}

bool ends_cvc(std::string_view word) {
  const auto flags = consonants(word);
  const size_t n = flags.size();
  if (n == 2) return !flags[0] && flags[1];
  return n >= 3 && flags[n - 3] && !flags[n - 2] && flags[n - 1] && word.back() != 'w' && word.back() != 'x' && word.back() != 'y';
}

using Condition = std::function<bool(std::string_view stem)>;
struct Rule {
  std::string_view suffix, replacement;
};

std::string cut(const std::string& word, size_t letters) { return word.substr(0, word.size() - letters); }

// The first rule whose suffix is there decides, whether or not its condition holds.
std::string apply(const std::string& word, const std::vector<Rule>& rules, const Condition& condition) {
  for (const auto& rule : rules) {
    if (!word.ends_with(rule.suffix)) continue;
    const std::string stem = cut(word, rule.suffix.size());
    return condition(stem) ? stem + std::string(rule.replacement) : word;
  }
  return word;
}

bool always(std::string_view) { return true; }
bool positive(std::string_view stem) { return measure(stem) > 0; }

std::string plurals(const std::string& word) {
  if (word.size() == 4 && word.ends_with("ies")) return cut(word, 1);
  return apply(word, {{"sses", "ss"}, {"ies", "i"}, {"ss", "ss"}, {"s", ""}}, always);
}

std::string after_past(const std::string& stem) {
  if (stem.ends_with("at") || stem.ends_with("bl") || stem.ends_with("iz")) return stem + "e";
  if (ends_double_consonant(stem)) {
    const char last = stem.back();
    return last == 'l' || last == 's' || last == 'z' ? stem : cut(stem, 1);
  }
  return measure(stem) == 1 && ends_cvc(stem) ? stem + "e" : stem;
}

std::string past(const std::string& word) {
  if (word.ends_with("ied")) return cut(word, word.size() == 4 ? 1 : 2);
  if (word.ends_with("eed")) return positive(cut(word, 3)) ? cut(word, 1) : word;
  for (const std::string_view suffix : {"ed", "ing"}) {
    if (!word.ends_with(suffix)) continue;
    const std::string stem = cut(word, suffix.size());
    if (contains_vowel(stem)) return after_past(stem);
  }
  return word;
}

std::string final_y(const std::string& word) {
  return apply(word, {{"y", "i"}}, [](std::string_view stem) { return stem.size() > 1 && ends_in_consonant(stem); });
}

std::string double_suffixes(const std::string& word) {
  if (word.ends_with("alli") && positive(cut(word, 4))) return double_suffixes(cut(word, 2));
  static const std::vector<Rule> rules{{"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"},   {"anci", "ance"},    {"izer", "ize"},    {"bli", "ble"},
                                       {"alli", "al"},     {"entli", "ent"},   {"eli", "e"},       {"ousli", "ous"},    {"ization", "ize"}, {"ation", "ate"},
                                       {"ator", "ate"},    {"alism", "al"},    {"iveness", "ive"}, {"fulness", "ful"},  {"ousness", "ous"}, {"aliti", "al"},
                                       {"iviti", "ive"},   {"biliti", "ble"},  {"fulli", "ful"}};
  if (word.ends_with("logi")) return positive(cut(word, 3)) ? cut(word, 1) : word;
  return apply(word, rules, positive);
}

std::string long_suffixes(const std::string& word) {
  static const std::vector<Rule> rules{{"icate", "ic"}, {"ative", ""}, {"alize", "al"}, {"iciti", "ic"}, {"ical", "ic"}, {"ful", ""}, {"ness", ""}};
  return apply(word, rules, positive);
}

std::string last_suffixes(const std::string& word) {
  static const std::vector<Rule> rules{{"al", ""},   {"ance", ""}, {"ence", ""}, {"er", ""},  {"ic", ""},  {"able", ""}, {"ible", ""}, {"ant", ""}, {"ement", ""}, {"ment", ""},
                                       {"ent", ""},  {"ion", ""},  {"ou", ""},   {"ism", ""}, {"ate", ""}, {"iti", ""},  {"ous", ""},  {"ive", ""}, {"ize", ""}};
  const bool ion = word.ends_with("ion");
  return apply(word, rules, [&](std::string_view stem) { return measure(stem) > 1 && (!ion || stem.back() == 's' || stem.back() == 't'); });
}

std::string final_e(const std::string& word) {
  if (!word.ends_with('e')) return word;
  const std::string stem = cut(word, 1);
  const int m = measure(stem);
  return m > 1 || (m == 1 && !ends_cvc(stem)) ? stem : word;
}

std::string final_double_l(const std::string& word) { return word.ends_with("ll") && measure(cut(word, 1)) > 1 ? cut(word, 1) : word; }

}  // namespace porter_detail

std::string porter_stem(const std::string& word) {
  namespace d = porter_detail;
  static const std::map<std::string_view, const char*> irregular{
      {"sky", "sky"},         {"skies", "sky"},     {"dying", "die"},       {"lying", "lie"},     {"tying", "tie"},       {"news", "news"},
      {"innings", "inning"},  {"inning", "inning"}, {"outings", "outing"},  {"outing", "outing"}, {"cannings", "canning"}, {"canning", "canning"},
      {"howe", "howe"},       {"proceed", "proceed"}, {"exceed", "exceed"}, {"succeed", "succeed"}};
  const auto found = irregular.find(word);
  if (found != irregular.end()) return found->second;
  if (word.size() <= 2) return word;
  return d::final_double_l(d::final_e(d::last_suffixes(d::long_suffixes(d::double_suffixes(d::final_y(d::past(d::plurals(word))))))));
}

}  // namespace zoo::metrics
