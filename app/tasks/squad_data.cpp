#include "app/tasks/squad_data.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "app/cli.h"
#include "app/files.h"
#include "data/csv.h"
#include "data/jsonl.h"
#include "models/names.h"

namespace zoo::app {
namespace squad_data_detail {
namespace fs = std::filesystem;

using Names = std::vector<std::string>;

struct Reader {
  int64_t limit;
  bool need_answers;
  Questions result{};
  int64_t moved = 0, lost = 0;  // answers that stand elsewhere than told, and nowhere

  bool full() const { return limit > 0 && static_cast<int64_t>(result.all.size()) >= limit; }
};

std::string text_of(const Json& object, const char* key, const std::string& source) {
  const auto found = object.find(key);
  if (found != object.end() && found->is_string()) return found->get<std::string>();
  if (found != object.end() && found->is_number_integer()) return found->dump();
  throw UsageError(source + ": no text \"" + key + "\"; a question has \"question\" and \"context\"");
}

// The byte where character `count` begins; npos beyond the end.
size_t byte_of_character(const std::string& text, int64_t count) {
  if (count < 0) return std::string::npos;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool begins = (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
    if (begins && count-- == 0) return i;
  }
  return std::string::npos;
}

// Adds one answer; the first that stands in the context is the one to learn.
void add_answer(Reader& reader, Question& question, const std::string& answer, const Json& start) {
  question.answers.push_back(answer);
  if (question.answer_end > 0 || answer.empty()) return;
  size_t place = start.is_number_integer() ? byte_of_character(question.context, start.get<int64_t>()) : std::string::npos;
  if (place == std::string::npos || question.context.compare(place, answer.size(), answer) != 0) {
    place = question.context.find(answer);
    ++(place == std::string::npos ? reader.lost : reader.moved);
  }
  if (place == std::string::npos) return;
  question.answer_begin = place;
  question.answer_end = place + answer.size();
}

void add_answers(Reader& reader, Question& question, const Json& answers) {
  const auto wrong = [&]() -> UsageError { return UsageError(question.source + ": \"answers\" is no list of {\"text\", \"answer_start\"}"); };
  if (answers.is_array()) {
    for (const Json& one : answers) {
      if (!one.is_object()) throw wrong();
      add_answer(reader, question, text_of(one, "text", question.source), one.value("answer_start", Json()));
    }
    return;
  }
  if (!answers.is_object() || !answers.contains("text") || !answers.at("text").is_array()) throw wrong();
  const Json starts = answers.value("answer_start", Json::array());
  for (size_t i = 0; i < answers.at("text").size(); ++i) {
    if (!answers.at("text")[i].is_string()) throw wrong();
    add_answer(reader, question, answers.at("text")[i].get<std::string>(), starts.is_array() && i < starts.size() ? starts[i] : Json());
  }
}

void add_question(Reader& reader, const Json& json, std::string context, const std::string& source) {
  Question question{"", text_of(json, "question", source), std::move(context), source, {}};
  question.id = json.contains("id") ? text_of(json, "id", source) : std::to_string(reader.result.all.size());
  if (question.context.empty()) throw UsageError(source + ": the context is empty");
  const auto answers = json.find("answers");
  if (answers != json.end()) add_answers(reader, question, *answers);
  else if (reader.need_answers) throw UsageError(source + ": question '" + question.id + "' has no \"answers\"");
  if (json.value("is_impossible", Json(false)) == Json(true)) question.answers.clear(), question.answer_end = 0;
  reader.result.has_impossible = reader.result.has_impossible || (answers != json.end() && question.answers.empty());
  reader.result.all.push_back(std::move(question));
}

const Json& list_of(const Json& object, const char* key, const std::string& source) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || found == object.end() || !found->is_array())
    throw UsageError(source + ": no list \"" + key + "\"; a SQuAD file is {\"data\": [{\"paragraphs\": [{\"context\", \"qas\"}]}]}");
  return *found;
}

void read_squad(Reader& reader, const fs::path& file) {
  const Json document = read_json(file);
  for (const Json& article : list_of(document, "data", file.string())) {
    for (const Json& paragraph : list_of(article, "paragraphs", file.string())) {
      const std::string context = text_of(paragraph, "context", file.string());
      for (const Json& one : list_of(paragraph, "qas", file.string())) {
        if (reader.full()) return;
        if (!one.is_object()) throw UsageError(file.string() + ": an entry of \"qas\" is no object");
        add_question(reader, one, context, file.string() + ": question " + std::to_string(reader.result.all.size() + 1));
      }
    }
  }
}

void read_lines(Reader& reader, const fs::path& file) {
  for (const auto& row : data::read_jsonl(file, reader.limit)) {
    const std::string source = file.string() + ":" + std::to_string(row.line);
    add_question(reader, row.value, text_of(row.value, "context", source), source);
  }
}

void read_table(Reader& reader, const fs::path& file, const Json& options) {
  data::TableOptions wanted;
  wanted.limit = reader.limit;
  const data::Table table = data::read_table(file, wanted);
  Names names{"question", "context", "answer"};
  if (const std::string given = options.value("columns", ""); !given.empty()) {
    names.assign(1, "");
    for (const char c : given) {
      if (c == ',') names.emplace_back();
      else names.back() += c;
    }
    if (names.size() < 2 || names.size() > 3) throw UsageError("columns is '" + given + "'; expected question,context or question,context,answer");
  }
  const size_t question = table.column(names[0]), context = table.column(names[1]);
  const auto answer = names.size() > 2 ? table.find_column(names[2]) : std::nullopt;
  for (size_t i = 0; i < table.rows.size(); ++i) {
    Json json = {{"question", table.rows[i][question]}};
    if (answer) json["answers"] = {{{"text", table.rows[i][*answer]}}};
    add_question(reader, json, table.rows[i][context], file.string() + ":" + std::to_string(table.lines[i]));
  }
}

Names split_names(const std::string& split) {
  if (split == "validation" || split == "dev" || split == "val") return {"validation", "dev", "val", "valid"};
  return {split};
}

// "train.json", "train-v1.1.json", "dev_small.jsonl"
std::optional<fs::path> file_of(const fs::path& folder, const std::string& split) {
  Names files;
  for (const auto& item : fs::directory_iterator(folder)) files.push_back(item.path().filename().string());
  std::sort(files.begin(), files.end());
  for (const auto& name : split_names(split)) {
    for (const auto& file : files) {
      const std::string ending = fs::path(file).extension().string();
      const bool known = ending == ".json" || ending == ".jsonl" || ending == ".csv" || ending == ".tsv";
      const bool named = file.starts_with(name) && !std::isalnum(static_cast<unsigned char>(file[name.size()]));
      if (known && named) return folder / file;
    }
  }
  return std::nullopt;
}

fs::path find_file(const fs::path& data, const std::string& split, std::string& found) {
  std::error_code error;
  if (!fs::exists(data, error)) throw UsageError(data.string() + ": no such file or folder");
  if (!fs::is_directory(data, error)) return data;
  for (const auto& name : split.empty() ? Names{"test", "validation", "train"} : Names{split}) {
    if (const auto file = file_of(data, name)) return found = split_names(name).front(), *file;
  }
  throw UsageError(data.string() + ": no file for the split '" + (split.empty() ? "test" : split) + "'; looked for " +
                   join(split_names(split.empty() ? "test" : split)) + " with .json, .jsonl, .csv or .tsv");
}

}  // namespace squad_data_detail

Questions read_questions(const std::filesystem::path& data, const std::string& split, const Json& options, int64_t limit, bool need_answers) {
  namespace d = squad_data_detail;
  d::Reader reader{limit, need_answers};
  const auto file = d::find_file(data, split, reader.result.split);
  reader.result.file = file.string();
  if (file.extension() == ".json") d::read_squad(reader, file);
  else if (file.extension() == ".jsonl") d::read_lines(reader, file);
  else if (file.extension() == ".csv" || file.extension() == ".tsv") d::read_table(reader, file, options);
  else throw UsageError(file.string() + ": questions are read from .json (SQuAD), .jsonl, .csv and .tsv");
  if (reader.result.all.empty()) throw UsageError(file.string() + ": no questions");
  if (reader.moved > 0) spdlog::warn("{}: {} answers do not stand at their answer_start; their first place in the context is taken", reader.result.file, reader.moved);
  if (reader.lost > 0) spdlog::warn("{}: {} answers are not in their context; nothing can be learnt from them", reader.result.file, reader.lost);
  return std::move(reader.result);
}

}  // namespace zoo::app
