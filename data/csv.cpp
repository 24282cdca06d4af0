#include "data/csv.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "data/file_slices.h"
#include "data/table_file.h"

namespace zoo::data {
namespace csv_detail {

constexpr size_t kMaxRecordBytes = size_t{64} << 20;
constexpr size_t kMaxFields = 100000;

std::string lower_extension(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(), [](unsigned char c) { return std::tolower(c); });
  return extension;
}

char delimiter_of(const std::filesystem::path& path) {
  const auto extension = lower_extension(path);
  return extension == ".tsv" || extension == ".tab" ? '\t' : ',';
}

std::unique_ptr<std::ifstream> open(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) throw std::runtime_error(path.string() + ": no such file");
  if (!std::filesystem::is_regular_file(path, error) && !std::filesystem::is_fifo(path, error))
    throw std::runtime_error(path.string() + ": not a file; a .csv, .tsv or .jsonl file is expected");
  auto in = std::make_unique<std::ifstream>(path, std::ios::binary);
  if (!*in) throw std::runtime_error(path.string() + ": cannot be opened: " + std::strerror(errno));
  return in;
}

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = diagonal + (std::tolower(a[i - 1]) == std::tolower(b[j - 1]) ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
    }
  }
  return row.back();
}

// "; nearest: a, b, c"; hostile names of a million letters are cut before they are compared.
std::string suggestion(const std::string& wanted, const std::vector<std::string>& columns) {
  std::vector<std::pair<size_t, std::string>> ranked;
  for (const auto& column : columns) {
    const std::string shown = column.substr(0, 80);
    ranked.emplace_back(edit_distance(wanted.substr(0, 80), shown), shown);
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string text = "; nearest: ";
  for (size_t i = 0; i < std::min<size_t>(3, ranked.size()); ++i) text += (i ? ", " : "") + ranked[i].second;
  return ranked.empty() ? "" : text;
}

}  // namespace csv_detail

CsvReader::CsvReader(const std::filesystem::path& path, char delimiter)
    : own_(csv_detail::open(path)), in_(own_.get()), name_(path.string()),
      delimiter_(delimiter ? delimiter : csv_detail::delimiter_of(path)) {
  fill();
  if (buffer_.starts_with("\xEF\xBB\xBF")) place_ = 3;
}

CsvReader::CsvReader(std::istream& in, std::string name, char delimiter)
    : in_(&in), name_(std::move(name)), delimiter_(delimiter ? delimiter : ',') {
  fill();
  if (buffer_.starts_with("\xEF\xBB\xBF")) place_ = 3;
}

void CsvReader::fail(int64_t line, const std::string& what) const {
  throw std::runtime_error(name_ + ":" + std::to_string(line) + ": " + what);
}

bool CsvReader::fill() {
  before_ += int64_t(buffer_.size());
  buffer_.resize(1 << 16);
  in_->read(buffer_.data(), std::streamsize(buffer_.size()));
  buffer_.resize(size_t(in_->gcount()));
  place_ = 0;
  if (in_->bad()) throw std::runtime_error(name_ + ": reading failed");
  if (before_ == 0 && buffer_.starts_with("\x1F\x8B")) throw std::runtime_error(name_ + ": is packed by gzip, whatever it is called; unpack it first (gunzip)");
  if (buffer_.find('\0') != std::string::npos)
    throw std::runtime_error(name_ + ": holds NUL bytes, so it is binary and not a table (UTF-16 text must be converted to UTF-8)");
  return !buffer_.empty();
}

int CsvReader::peek() {
  if (place_ == buffer_.size() && !fill()) return -1;
  return static_cast<unsigned char>(buffer_[place_]);
}

int CsvReader::get() {
  const int c = peek();
  if (c < 0) return c;
  ++place_;
  if (c == '\n') ++line_;
  if (++record_bytes_ > csv_detail::kMaxRecordBytes) fail(record_line_, "record of more than 64 MiB (a quote that is never closed?)");
  return c;
}

// After the opening quote, up to and including the closing one.
void CsvReader::read_quoted(std::string& field) {
  const int64_t opened = line_;
  for (;;) {
    const int c = get();
    if (c < 0) fail(opened, "quoted field is never closed");
    if (c != '"') {
      field += char(c);
    } else if (peek() == '"') {
      field += char(get());
    } else {
      break;
    }
  }
  const int after = peek();
  if (after >= 0 && after != delimiter_ && after != '\n' && after != '\r')
    fail(line_, std::string("'") + char(after) + "' after a closing quote; a quote inside a quoted field must be doubled");
}

bool CsvReader::next(std::vector<std::string>& record) {
  record.clear();
  record_bytes_ = 0;
  while (peek() == '\n' || peek() == '\r') get();  // blank lines
  if (peek() < 0) return false;
  record_line_ = line_;
  record_offset_ = position();
  std::string field;
  if (peek() == '"') get(), read_quoted(field);
  for (;;) {
    const int c = get();
    if (c == '\r' && peek() == '\n') continue;
    if (c < 0 || c == '\n' || c == '\r') break;
    if (c != delimiter_) {
      field += char(c);
      continue;
    }
    record.push_back(std::move(field));
    field.clear();
    if (record.size() > csv_detail::kMaxFields) fail(record_line_, "more than 100000 fields");
    if (peek() == '"') get(), read_quoted(field);
  }
  record.push_back(std::move(field));
  if (fields_ == 0) fields_ = record.size();
  if (record.size() != fields_)
    fail(record_line_, std::to_string(record.size()) + " fields; the first record has " + std::to_string(fields_) +
                           " (a field with a delimiter in it must be quoted)");
  return true;
}

std::optional<size_t> Table::find_column(const std::string& wanted) const {
  const auto found = std::find(columns.begin(), columns.end(), wanted);
  if (found == columns.end()) return std::nullopt;
  return size_t(found - columns.begin());
}

size_t Table::column(const std::string& wanted) const {
  if (const auto found = find_column(wanted)) return *found;
  throw std::invalid_argument(name + ": no column '" + wanted + "'" + csv_detail::suggestion(wanted, columns));
}

namespace csv_detail {

void name_columns(Table& table, const TableOptions& options, size_t width) {
  if (!options.columns.empty()) {
    if (options.columns.size() != width)
      throw std::invalid_argument(table.name + ": " + std::to_string(options.columns.size()) + " column names for " +
                                  std::to_string(width) + " columns");
    table.columns = options.columns;
  } else if (!table.has_header) {
    for (size_t i = 0; i < width; ++i) table.columns.push_back(std::to_string(i));
  }
}

// What becomes of each row: its fields, its line, where in the file it begins.
using Take = std::function<void(std::vector<std::string>& row, int64_t line, int64_t offset)>;

// Both readers return where in the file they stopped.
int64_t read_delimited(CsvReader& reader, const TableOptions& options, Table& head, const Take& take) {
  std::vector<std::string> record;
  if (!reader.next(record)) throw std::runtime_error(head.name + ": empty; a table with at least one row is expected");
  using Header = TableOptions::Header;
  head.has_header = options.header == Header::yes ||
                    (options.header == Header::detect && options.numeric_column < record.size() &&
                     !parse_number(record[options.numeric_column]));
  if (head.has_header) head.columns = record;
  name_columns(head, options, record.size());
  int64_t rows = 0;
  if (!head.has_header) take(record, reader.line(), reader.offset()), ++rows;
  for (; (options.limit <= 0 || rows < options.limit) && reader.next(record); ++rows) take(record, reader.line(), reader.offset());
  return reader.position();
}

std::string json_text(const nlohmann::ordered_json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_null() ? "" : value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

// Deep nesting would exhaust the stack in the JSON library, and no table has it.
bool nested_deeply(const std::string& line) {
  int depth = 0;
  for (const char c : line) {
    depth += (c == '[' || c == '{') - (c == ']' || c == '}');
    if (depth > 64) return true;
  }
  return false;
}

std::vector<std::string> keys_of(const nlohmann::ordered_json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

// An object's values in the order of `keys`. `where`: for messages.
std::vector<std::string> json_row(const nlohmann::ordered_json& object, const std::vector<std::string>& keys, const std::function<std::string()>& where) {
  std::vector<std::string> row;
  for (const auto& column : keys) {
    const auto found = object.find(column);
    if (found == object.end()) throw std::runtime_error(where() + "no key '" + column + "', which the first line has");
    row.push_back(json_text(*found));
  }
  return row;
}

int64_t read_json_lines(std::istream& in, const TableOptions& options, Table& head, const Take& take) {
  std::string line;
  int64_t number = 0, rows = 0, read = 0;
  while ((options.limit <= 0 || rows < options.limit) && std::getline(in, line)) {
    ++number;
    const int64_t offset = std::exchange(read, read + int64_t(line.size()) + 1);
    const auto where = [&] { return head.name + ":" + std::to_string(number) + ": "; };
    const bool marked = number == 1 && line.starts_with("\xEF\xBB\xBF");
    if (marked) line.erase(0, 3);
    if (line.find('\0') != std::string::npos) throw std::runtime_error(where() + "holds NUL bytes, so it is binary and not a table");
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (nested_deeply(line)) throw std::runtime_error(where() + "JSON nested more than 64 levels deep");
    const auto object = nlohmann::ordered_json::parse(line, nullptr, false);
    if (!object.is_object()) throw std::runtime_error(where() + "not a JSON object; each line must be one");
    if (rows == 0) head.columns = keys_of(object);
    auto row = json_row(object, head.columns, where);
    take(row, number, offset + (marked ? 3 : 0));
    ++rows;
  }
  if (rows == 0) throw std::runtime_error(head.name + ": empty; a JSON object on each line is expected");
  name_columns(head, options, head.columns.size());
  return read;
}

nlohmann::ordered_json object_at(const FileSlices& slices, int64_t index) {
  const std::string bytes = slices.read(index);
  return nlohmann::ordered_json::parse(bytes.substr(0, bytes.find('\n')));
}

bool is_json_lines(const std::filesystem::path& path) {
  const auto extension = lower_extension(path);
  return extension == ".jsonl" || extension == ".ndjson";
}

int64_t read_rows(const std::filesystem::path& path, const TableOptions& options, Table& head, const Take& take) {
  head.name = path.string();
  if (is_json_lines(path)) return read_json_lines(*open(path), options, head, take);
  CsvReader reader(path, 0);
  return read_delimited(reader, options, head, take);
}

}  // namespace csv_detail

Table read_table(const std::filesystem::path& path, const TableOptions& options) {
  Table table;
  csv_detail::read_rows(path, options, table, [&](std::vector<std::string>& row, int64_t line, int64_t) {
    table.rows.push_back(std::move(row));
    table.lines.push_back(line);
  });
  return table;
}

TableFile::TableFile(const std::filesystem::path& path, const TableOptions& options, const Visit& visit)
    : json_(csv_detail::is_json_lines(path)), delimiter_(csv_detail::delimiter_of(path)), slices_(path) {
  slices_.end(csv_detail::read_rows(path, options, head_, [&](std::vector<std::string>& row, int64_t line, int64_t offset) {
    slices_.add(offset);
    if (visit) visit(row, line);
  }));
  if (json_ && size() > 0) keys_ = csv_detail::keys_of(csv_detail::object_at(slices_, 0));
}

std::vector<std::string> TableFile::row(int64_t index) const {
  if (json_) return csv_detail::json_row(csv_detail::object_at(slices_, index), keys_, [this] { return head_.name + ": "; });
  std::istringstream in(slices_.read(index));
  std::vector<std::string> record;
  CsvReader(in, head_.name, delimiter_).next(record);
  return record;
}

std::string csv_field(std::string_view text, char delimiter) {
  const bool plain = text.find_first_of("\"\r\n") == text.npos && text.find(delimiter) == text.npos;
  if (plain) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::string csv_record(const std::vector<std::string>& fields, char delimiter) {
  std::string record;
  for (size_t i = 0; i < fields.size(); ++i) {
    if (i > 0) record += delimiter;
    record += csv_field(fields[i], delimiter);
  }
  // A lone empty field would read back as a blank line.
  if (fields.size() == 1 && fields[0].empty()) record = "\"\"";
  return record + '\n';
}

std::optional<double> parse_number(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '+')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\r')) text.remove_suffix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

}  // namespace zoo::data
