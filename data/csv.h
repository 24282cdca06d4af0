// Tables as text: CSV (RFC 4180), TSV and JSON Lines, read as a stream.
#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace zoo::data {

// Reads one record after the other. Understands quoted fields with commas, doubled quotes and line breaks, CRLF and LF,
// a UTF-8 byte order mark, and a last line without a line break. Blank lines are passed over.
// Errors (std::runtime_error) name the file and the line: binary content (NUL byte), an open quote at the end, text after
// a closing quote, a record with another number of fields than the first, a record beyond 64 MiB.
class CsvReader {
 public:
  CsvReader(const std::filesystem::path& path, char delimiter);   // delimiter 0: ',' or, for .tsv and .tab, tab
  CsvReader(std::istream& in, std::string name, char delimiter);  // `in` must outlive the reader
  bool next(std::vector<std::string>& record);  // false at the end
  int64_t line() const { return record_line_; }  // where the last record began, from 1
  int64_t offset() const { return record_offset_; }                      // and in bytes from the file's start
  int64_t position() const { return before_ + int64_t(place_); }  // of what has not been read yet

 private:
  int get();
  int peek();
  bool fill();
  void read_quoted(std::string& field);
  [[noreturn]] void fail(int64_t line, const std::string& what) const;

  std::unique_ptr<std::ifstream> own_;
  std::istream* in_;
  std::string name_;
  char delimiter_;
  std::string buffer_;
  size_t place_ = 0, record_bytes_ = 0, fields_ = 0;
  int64_t line_ = 1, record_line_ = 0, before_ = 0, record_offset_ = 0;  // before_: bytes in front of the buffer
};

struct Table {
  std::vector<std::string> columns;            // from the header, or "0", "1", ... without one
  std::vector<std::vector<std::string>> rows;  // each as long as columns
  std::vector<int64_t> lines;                  // line of the file where each row begins, for messages
  bool has_header = true;
  std::string name;  // the file, for messages

  // Index of a column. Throws std::invalid_argument that names the nearest columns.
  size_t column(const std::string& wanted) const;
  std::optional<size_t> find_column(const std::string& wanted) const;
};

struct TableOptions {
  enum class Header { yes, no, detect };
  Header header = Header::yes;
  size_t numeric_column = 0;         // for detect: line 1 is a header when this field of it is not a number
  std::vector<std::string> columns;  // names to use: instead of "0", "1", ...; or in place of the header's
  int64_t limit = 0;                 // at most so many rows; 0 = all
};

// Reads a whole .csv, .tsv, .tab or .jsonl (one object per line; columns are the first object's keys; an object without
// one of them is an error). Throws std::runtime_error for files that are empty, binary or malformed.
Table read_table(const std::filesystem::path& path, const TableOptions& options = {});

// A field as it stands in a file: quoted only when it must be.
std::string csv_field(std::string_view text, char delimiter = ',');
// One record with its line break ("\n").
std::string csv_record(const std::vector<std::string>& fields, char delimiter = ',');

// The whole text as a finite number, else nothing.
std::optional<double> parse_number(std::string_view text);

}  // namespace zoo::data
