#include "data/csv.h"

#include <fstream>
#include <sstream>

#include "tests/catch.h"

namespace csv_tests {

using zoo::data::CsvReader;
using Record = std::vector<std::string>;

std::vector<Record> parse(const std::string& text, char delimiter = ',') {
  std::istringstream in(text);
  CsvReader reader(in, "test.csv", delimiter);
  std::vector<Record> records;
  for (Record record; reader.next(record);) records.push_back(record);
  return records;
}

struct File {
  explicit File(const std::string& ending, const std::string& text)
      : path(std::filesystem::temp_directory_path() / ("zoo_csv_test_" + std::to_string(::getpid()) + ending)) {
    std::ofstream(path, std::ios::binary) << text;
  }
  ~File() { std::filesystem::remove(path); }
  std::filesystem::path path;
};

TEST_CASE("csv reads what RFC 4180 describes", "[csv]") {
  CHECK(parse("a,b\nc,d\n") == std::vector<Record>{{"a", "b"}, {"c", "d"}});
  CHECK(parse("a,b\r\nc,d") == std::vector<Record>{{"a", "b"}, {"c", "d"}});
  CHECK(parse("\"a,1\",\"say \"\"hi\"\"\"\n") == std::vector<Record>{{"a,1", "say \"hi\""}});
  CHECK(parse("\"two\nlines\",x\r\n\"\",\n") == std::vector<Record>{{"two\nlines", "x"}, {"", ""}});
  CHECK(parse("\xEF\xBB\xBFname\nx\n") == std::vector<Record>{{"name"}, {"x"}});
  CHECK(parse("a\n\n\nb\n") == std::vector<Record>{{"a"}, {"b"}});
  CHECK(parse("a\tb,c\n", '\t') == std::vector<Record>{{"a", "b,c"}});
  CHECK(parse("5\" pipe,x\n") == std::vector<Record>{{"5\" pipe", "x"}});
  CHECK(parse("").empty());
}

TEST_CASE("csv refuses what is no table, with the line", "[csv]") {
  CHECK_THROWS_WITH(parse("a,b\n\"x\ny\",2\n1,2,3\n"), ContainsSubstring("test.csv:4: 3 fields; the first record has 2"));
  CHECK_THROWS_WITH(parse("a,b\nc,\"open\n\n"), ContainsSubstring("test.csv:2: quoted field is never closed"));
  CHECK_THROWS_WITH(parse("\"a\"b,c\n"), ContainsSubstring("'b' after a closing quote"));
  CHECK_THROWS_WITH(parse(std::string("a,b\0c\n", 6)), ContainsSubstring("binary"));
}

TEST_CASE("csv fields and records survive a round trip", "[csv]") {
  const std::vector<Record> records = {{"plain", "a,b", "quote \" inside"}, {"two\nlines", "", " spaces "}, {"\r", "\"", ",,"}};
  std::string text;
  for (const auto& record : records) text += zoo::data::csv_record(record);
  CHECK(parse(text) == records);
  std::string tabs;
  for (const auto& record : records) tabs += zoo::data::csv_record(record, '\t');
  CHECK(parse(tabs, '\t') == records);
  CHECK(parse(zoo::data::csv_record({""}) + zoo::data::csv_record({"x"})) == std::vector<Record>{{""}, {"x"}});
}

TEST_CASE("csv reader crosses its buffer in the middle of a field", "[csv]") {
  const std::string big(200000, 'x');
  CHECK(parse("a,\"" + big + "\"\"" + big + "\"\n") == std::vector<Record>{{"a", big + "\"" + big}});
}

TEST_CASE("tables: header, no header, detection, limit", "[csv]") {
  using Options = zoo::data::TableOptions;
  const File bare(".csv", "a girl,a boy,2.5\nx,y,3\n"), named(".csv.csv", "sentence1,sentence2,score\nx,y,3\n");
  Options detect;
  detect.header = Options::Header::detect;
  detect.numeric_column = 2;
  const auto without = zoo::data::read_table(bare.path, detect);
  CHECK_FALSE(without.has_header);
  CHECK(without.columns == Record{"0", "1", "2"});
  CHECK(without.rows.size() == 2);
  const auto with = zoo::data::read_table(named.path, detect);
  CHECK(with.has_header);
  CHECK(with.rows == std::vector<Record>{{"x", "y", "3"}});
  CHECK(with.lines == std::vector<int64_t>{2});
  CHECK(with.column("score") == 2);
  CHECK_THROWS_WITH(with.column("scor"), ContainsSubstring("no column 'scor'; nearest: score"));
  detect.limit = 1;
  CHECK(zoo::data::read_table(bare.path, detect).rows.size() == 1);
}

TEST_CASE("tables from JSON lines", "[csv]") {
  const File good(".jsonl", "{\"text\": \"a \\\"b\\\"\", \"n\": 1.5}\n\n{\"n\": null, \"text\": \"c\"}\n");
  const auto table = zoo::data::read_table(good.path);
  CHECK(table.columns == Record{"text", "n"});
  CHECK(table.rows == std::vector<Record>{{"a \"b\"", "1.5"}, {"c", ""}});
  CHECK(table.lines == std::vector<int64_t>{1, 3});
  const File lacking("2.jsonl", "{\"text\": \"a\"}\n{\"txt\": \"b\"}\n"), list("3.jsonl", "[1, 2]\n");
  const File deep("4.jsonl", "{\"a\": " + std::string(100000, '[') + "\n");
  CHECK_THROWS_WITH(zoo::data::read_table(lacking.path), ContainsSubstring(":2: no key 'text'"));
  CHECK_THROWS_WITH(zoo::data::read_table(list.path), ContainsSubstring("not a JSON object"));
  CHECK_THROWS_WITH(zoo::data::read_table(deep.path), ContainsSubstring("nested"));
}

TEST_CASE("tables that are not there or empty", "[csv]") {
  const File empty(".csv", "");
  CHECK_THROWS_WITH(zoo::data::read_table(empty.path), ContainsSubstring("empty"));
  CHECK_THROWS_WITH(zoo::data::read_table("/nonexistent/file.csv"), ContainsSubstring("no such file"));
  CHECK_THROWS_WITH(zoo::data::read_table(std::filesystem::temp_directory_path()), ContainsSubstring("not a file"));
}

TEST_CASE("numbers are whole fields", "[csv]") {
  CHECK(zoo::data::parse_number("2.5") == 2.5);
  CHECK(zoo::data::parse_number(" -1e3 ") == -1000.0);
  CHECK(zoo::data::parse_number("+4") == 4.0);
  for (const char* wrong : {"", "score", "2.5x", "nan", "inf", "1,5"}) CHECK_FALSE(zoo::data::parse_number(wrong));
}

}  // namespace csv_tests
