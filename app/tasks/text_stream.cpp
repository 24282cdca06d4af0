#include "app/tasks/text_stream.h"

#include <algorithm>
#include <fstream>
#include <iostream>

#include <spdlog/spdlog.h>

#include "app/cli.h"
#include "app/tasks/text_batches.h"
#include "data/csv.h"
#include "tokenizers/utf8.h"

namespace zoo::app {
namespace text_stream_detail {
namespace fs = std::filesystem;

constexpr size_t kLongestLine = size_t{16} << 20;
constexpr int64_t kLinesThatTell = 16;  // a zero byte in one of the first lines: the file is no text at all

std::string extension_of(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(), [](unsigned char c) { return std::tolower(c); });
  return extension;
}

bool is_file(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error) && !fs::is_directory(path, error);
}

std::vector<std::string> files_of(const std::string& input) {
  std::error_code error;
  if (input == "-" || is_file(input)) return {input};
  if (!fs::exists(input, error)) throw UsageError(input + ": no such file or folder (a sentence is given with --input \"...\")");
  std::vector<std::string> files;
  for (const auto& item : fs::directory_iterator(input))
    if (item.is_regular_file() && item.path().extension() == ".txt") files.push_back(item.path().string());
  if (files.empty()) throw UsageError(input + ": no .txt files in this folder");
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace text_stream_detail

class TextStream::Source {
 public:
  virtual ~Source() = default;
  virtual bool next(StreamedText& text) = 0;
};

namespace text_stream_detail {

class Argument : public TextStream::Source {
 public:
  explicit Argument(std::string text) : text_(std::move(text)) {}
  bool next(StreamedText& text) override {
    text = {text_, "argument", ""};
    return !std::exchange(given_, true);
  }

 private:
  std::string text_;
  bool given_ = false;
};

class Lines : public TextStream::Source {
 public:
  Lines(std::unique_ptr<std::istream> file, std::string name) : file_(std::move(file)), in_(file_ ? *file_ : std::cin), name_(std::move(name)) {}
  bool next(StreamedText& text) override {
    text = {};
    if (!read_line(text)) return false;
    text.source = name_ + ":" + std::to_string(++number_);
    if (number_ == 1 && text.text.starts_with("\xEF\xBB\xBF")) text.text.erase(0, 3);
    if (!text.text.empty() && text.text.back() == '\r') text.text.pop_back();
    if (text.text.find('\0') != std::string::npos) {
      if (number_ <= kLinesThatTell) throw std::runtime_error(text.source + ": holds NUL bytes, so it is binary; UTF-8 text is expected");
      text.trouble = "holds NUL bytes";
    }
    return true;
  }

 private:
  bool read_line(StreamedText& text) {
    std::streambuf& buffer = *in_.rdbuf();
    int c = buffer.sbumpc();
    if (c == std::char_traits<char>::eof()) return false;
    for (; c != std::char_traits<char>::eof() && c != '\n'; c = buffer.sbumpc()) {
      if (text.text.size() < kLongestLine) text.text.push_back(static_cast<char>(c));
      else text.trouble = "longer than 16 MiB; the rest is passed over";
    }
    return true;
  }

  std::unique_ptr<std::istream> file_;
  std::istream& in_;
  std::string name_;
  int64_t number_ = 0;
};

// What is taken of a table.
struct Wanted {
  Json options;                      // "column"
  std::vector<std::string> columns;  // two, for pairs of texts
};

// The places of the columns, one or two, in a table of which only the names are known yet.
std::vector<size_t> places_of(const std::string& file, const std::vector<std::string>& names, const Wanted& wanted) {
  data::Table table;
  table.name = file;
  table.columns = names;
  if (wanted.columns.empty()) return {text_column(table, wanted.options)};
  std::vector<size_t> places;
  for (const auto& name : wanted.columns) places.push_back(table.column(name));
  return places;
}

class Records : public TextStream::Source {
 public:
  Records(const std::string& file, const Wanted& wanted) : reader_(file, 0), name_(file) {
    std::vector<std::string> header;
    if (!reader_.next(header)) throw std::runtime_error(file + ": empty; a table with at least one row is expected");
    places_ = places_of(file, header, wanted);
  }
  bool next(StreamedText& text) override {
    std::vector<std::string> record;
    if (!reader_.next(record)) return false;
    text = {record[places_.front()], name_ + ":" + std::to_string(reader_.line()), ""};
    text.in_table = true;
    if (places_.size() > 1) text.pair = record[places_[1]];
    return true;
  }

 private:
  data::CsvReader reader_;
  std::string name_;
  std::vector<size_t> places_;
};

class Objects : public TextStream::Source {
 public:
  Objects(std::unique_ptr<std::istream> file, const std::string& name, Wanted wanted)
      : lines_(std::move(file), name), name_(name), wanted_(std::move(wanted)) {}
  bool next(StreamedText& text) override {
    do {
      if (!lines_.next(text)) return false;
    } while (text.text.find_first_not_of(" \t") == std::string::npos);
    const Json object = parse(text.text);
    text.text.clear();
    text.in_table = true;
    if (!object.is_object()) {
      text.trouble = "not a JSON object; nothing is written for it";
      text.lost = true;
      return true;
    }
    if (keys_.empty()) choose_keys(object);
    text.text = value_of(object, keys_.front(), text);
    if (keys_.size() > 1) text.pair = value_of(object, keys_[1], text);
    return true;
  }

 private:
  static std::string value_of(const Json& object, const std::string& key, StreamedText& text) {
    const auto found = object.find(key);
    if (found == object.end()) {
      text.trouble = "no key '" + key + "'; nothing is written for it";
      text.lost = true;
      return "";
    }
    return found->is_string() ? found->get<std::string>() : found->is_null() ? "" : found->dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  static Json parse(const std::string& line) {
    int depth = 0;  // deep nesting would exhaust the stack of whoever walks the result
    for (const char c : line) {
      depth += (c == '[' || c == '{') - (c == ']' || c == '}');
      if (depth > 64) return {};
    }
    return Json::parse(line, nullptr, /*allow_exceptions=*/false);
  }
  void choose_keys(const Json& first) {
    std::vector<std::string> names;
    for (const auto& [key, value] : first.items()) names.push_back(key);
    for (const size_t place : places_of(name_, names, wanted_)) keys_.push_back(names.at(place));
  }

  Lines lines_;
  std::string name_;
  std::vector<std::string> keys_;
  Wanted wanted_;
};

std::unique_ptr<TextStream::Source> open_source(const std::string& input, const Wanted& wanted) {
  if (input == "-" && !wanted.columns.empty()) throw UsageError("pairs of texts are read from tables (.csv, .tsv, .jsonl), not from standard input");
  if (input == "-") return std::make_unique<Lines>(nullptr, "standard input");
  const std::string extension = extension_of(input);
  const bool lines = extension == ".jsonl" || extension == ".ndjson", pairs = !wanted.columns.empty();  // pairs stand in tables alone
  if (extension == ".csv" || extension == ".tsv" || extension == ".tab" || (pairs && !lines)) return std::make_unique<Records>(input, wanted);
  auto file = std::make_unique<std::ifstream>(input, std::ios::binary);
  if (!*file) throw std::runtime_error(input + ": cannot be opened");
  if (lines) return std::make_unique<Objects>(std::move(file), input, wanted);
  return std::make_unique<Lines>(std::move(file), input);
}

}  // namespace text_stream_detail

TextStream::TextStream(const RunOptions& options, std::vector<std::string> columns) : options_(options.options), columns_(std::move(columns)) {
  namespace d = text_stream_detail;
  if (names_file(options.text)) inputs_.push_back(options.text);
  else argument_ = options.text;
  for (const auto& input : options.inputs)
    for (auto& file : d::files_of(input)) inputs_.push_back(std::move(file));
  if (!argument_.empty() && !columns_.empty()) throw UsageError("columns tell where pairs stand in tables; the second text of --input is --pair");
  if (!argument_.empty()) source_ = std::make_unique<d::Argument>(argument_);
}

TextStream::~TextStream() = default;

bool TextStream::next(StreamedText& text) {
  for (;;) {
    if (source_ && source_->next(text)) break;
    if (opened_ == inputs_.size()) return false;
    source_ = text_stream_detail::open_source(inputs_[opened_++], {options_, columns_});
  }
  if (text.trouble.empty() && !(tokenizers::is_valid_utf8(text.text) && tokenizers::is_valid_utf8(text.pair))) text.trouble = "not UTF-8; what is malformed is read as U+FFFD";
  return true;
}

int64_t count_texts(const RunOptions& options, const std::vector<std::string>& columns) {
  std::error_code error;
  const auto once = [&](const std::string& input) {  // a pipe, a terminal
    const auto kind = std::filesystem::status(input, error);
    return input == "-" || (std::filesystem::exists(kind) && !std::filesystem::is_regular_file(kind) && !std::filesystem::is_directory(kind));
  };
  if (once(options.text) || std::any_of(options.inputs.begin(), options.inputs.end(), once)) return 0;
  TextStream stream(options, columns);
  StreamedText text;
  int64_t count = 0;
  while (stream.next(text)) ++count;
  return count;
}

void Troubles::add(const std::string& source, const std::string& what) {
  constexpr int64_t kShown = 10;
  if (++count_ <= kShown) spdlog::warn("{}: {}", source, what);
  else if (count_ == kShown + 1) spdlog::warn("further inputs with such trouble are counted, not shown");
}

void Troubles::close() const {
  if (count_ > 0) spdlog::warn("{} inputs had trouble", count_);
}

}  // namespace zoo::app
