#include "data/conll.h"

#include <stdexcept>
#include <utility>

#include "data/jsonl.h"
#include "data/text_lines.h"

namespace zoo::data {
namespace conll_detail {

// The first and the last column; false when there are not two.
bool split_columns(const std::string& line, std::string& token, std::string& label) {
  const char* separators = line.find('\t') != std::string::npos ? "\t" : " ";
  const size_t end = line.find_last_not_of(" \t");
  if (end == std::string::npos) return false;
  const size_t last = line.find_last_of(separators, end);
  const size_t first = line.find_first_of(separators);
  if (last == std::string::npos || first == 0) return false;
  token = line.substr(0, first);
  label = line.substr(last + 1, end - last);
  return true;
}

std::vector<std::string> strings_of(const JsonRow& row, const char* key, const std::filesystem::path& path) {
  const auto wrong = [&](const std::string& seen) {
    throw std::runtime_error(path.string() + ": line " + std::to_string(row.line) + ": \"" + key +
                             "\" holds " + seen + "; a list of texts was expected");
  };
  std::vector<std::string> texts;
  const auto& list = row.value.at(key);
  if (!list.is_array()) wrong(list.type_name());
  for (const auto& item : list) {
    if (item.is_string())
      texts.push_back(item.get<std::string>());
    else if (item.is_number_integer() && std::string(key) != "tokens")
      texts.push_back(item.dump());
    else
      wrong(item.type_name());
  }
  return texts;
}

const char* label_key(const JsonRow& row) {
  for (const char* key : {"labels", "ner_tags", "tags"})
    if (row.value.contains(key)) return key;
  return nullptr;
}

}  // namespace conll_detail

std::vector<LabelledTokens> read_conll(const std::filesystem::path& path, int64_t limit) {
  TextLines lines(path);
  std::vector<LabelledTokens> sentences;
  LabelledTokens sentence;
  bool tabs = false;
  const auto close = [&] {
    if (!sentence.tokens.empty()) sentences.push_back(std::exchange(sentence, {}));
  };
  std::string line, token, label;
  while ((limit <= 0 || static_cast<int64_t>(sentences.size()) < limit) && lines.next(line)) {
    const bool has_tab = line.find('\t') != std::string::npos;
    if (line.find_first_not_of(" \t") == std::string::npos) {
      close();
      continue;
    }
    if (line.starts_with("-DOCSTART-")) continue;
    // Before the first line with a tab "# text" may still be a comment; "# O" is the token '#' with its
    // label.
    const bool two_fields = line.find(' ') != std::string::npos && line.find(' ') == line.rfind(' ');
    if (line[0] == '#' && !has_tab && (tabs || (sentences.empty() && sentence.tokens.empty() && !two_fields)))
      continue;
    tabs = tabs || has_tab;
    if (!conll_detail::split_columns(line, token, label))
      lines.fail("'" + line.substr(0, 40) +
                 "' has one column; a token and its label were expected, separated by a tab or blank");
    if (sentence.tokens.empty()) sentence.line = lines.number();
    sentence.tokens.push_back(token);
    sentence.labels.push_back(label);
  }
  if (limit <= 0 || static_cast<int64_t>(sentences.size()) < limit) close();
  if (sentences.empty())
    throw std::runtime_error(path.string() + ": empty; one token and its label a line was expected");
  return sentences;
}

std::vector<LabelledTokens> read_token_jsonl(const std::filesystem::path& path, int64_t limit) {
  std::vector<LabelledTokens> sentences;
  const auto rows = read_jsonl(path, limit);
  const char* labels = conll_detail::label_key(rows.front());
  for (const JsonRow& row : rows) {
    const std::string where = path.string() + ": line " + std::to_string(row.line) + ": ";
    if (!row.value.contains("tokens"))
      throw std::runtime_error(where + "no \"tokens\"; {\"tokens\": [...], \"labels\": [...]} was expected");
    if ((labels != nullptr) != (conll_detail::label_key(row) != nullptr))
      throw std::runtime_error(where +
                               (labels ? "no \"" + std::string(labels) + "\" though earlier rows have them"
                                       : "has labels though earlier rows have none"));
    LabelledTokens sentence{conll_detail::strings_of(row, "tokens", path), {}, row.line};
    if (labels) sentence.labels = conll_detail::strings_of(row, conll_detail::label_key(row), path);
    if (labels && sentence.labels.size() != sentence.tokens.size())
      throw std::runtime_error(where + std::to_string(sentence.tokens.size()) + " tokens but " +
                               std::to_string(sentence.labels.size()) + " labels");
    sentences.push_back(std::move(sentence));
  }
  return sentences;
}

std::vector<LabelledTokens> read_labelled_tokens(const std::filesystem::path& path, int64_t limit) {
  const auto extension = path.extension();
  return extension == ".jsonl" || extension == ".json" ? read_token_jsonl(path, limit)
                                                       : read_conll(path, limit);
}

}  // namespace zoo::data
