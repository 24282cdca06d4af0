// Rows that stay in their file are the rows that reading it whole gives.
#include "app/tasks/text_rows.h"

#include <filesystem>
#include <random>

#include "app/cli.h"
#include "app/tasks/labelled_text.h"
#include "app/tasks/text_pairs.h"
#include "data/line_file.h"
#include "data/plain_lines.h"
#include "data/table_file.h"
#include "tests/catch.h"
#include "tests/cli/program.h"

namespace text_rows_tests {
using namespace zoo;
using namespace zoo::app;
using zoo::test::Scratch;
namespace fs = std::filesystem;
const Json kStream = {{"stream_above_mb", 0}};

void check_same(const fs::path& path, const data::TableOptions& options = {}) {
  INFO(path);
  const data::Table table = data::read_table(path, options);
  std::vector<int64_t> lines;
  const data::TableFile file(path, options, [&](const std::vector<std::string>& row, int64_t line) {
    CHECK(row == table.rows.at(lines.size()));
    lines.push_back(line);
  });
  CHECK(file.head().columns == table.columns);
  CHECK(file.head().has_header == table.has_header);
  CHECK(lines == table.lines);
  REQUIRE(file.size() == static_cast<int64_t>(table.rows.size()));
  for (int64_t i = file.size() - 1; i >= 0; --i) CHECK(file.row(i) == table.rows[static_cast<size_t>(i)]);
}

TEST_CASE("tables by the places of their rows: quotes, line breaks in cells, blank lines, marks", "[text_rows]") {
  const Scratch scratch;
  const std::string odd = "\xEF\xBB\xBF" "a,b\r\n\r\n\"x\ny\",\"say \"\"no\"\"\"\r\n\n1,\"\"\n\"last\r\n\n\",end";
  check_same(scratch.write("odd.csv", odd));
  data::TableOptions options;
  options.header = data::TableOptions::Header::no;
  check_same(scratch / "odd.csv", options);
  options.limit = 2;
  check_same(scratch / "odd.csv", options);
  check_same(scratch.write("t.tsv", "a\tb\n\"1\t2\"\t,\n"));
  const std::string objects = "\xEF\xBB\xBF" "{\"a\": \"x\\ny\", \"b\": [1, 2]}\r\n\n {\"b\": null, \"a\": 1}\n{\"a\": \"\", \"b\": \"z\", \"c\": 0}";
  check_same(scratch.write("t.jsonl", objects));
  options.limit = 2;
  check_same(scratch / "t.jsonl", options);
  CHECK_THROWS_AS(data::TableFile(scratch.write("bad.csv", "a,b\n1,2\n3\n"), {}), std::runtime_error);
  CHECK_THROWS_AS(data::TableFile(scratch.write("bad.jsonl", "{\"a\": 1}\n{\"b\": 1}\n"), {}), std::runtime_error);
}

TEST_CASE("tables by the places of their rows: cells of any kind, over the reader's buffer", "[text_rows]") {
  const Scratch scratch;
  std::mt19937 random(5);
  std::string text = "first,second,third\n";
  for (int row = 0; row < 3000; ++row) {
    std::vector<std::string> cells(3);
    for (auto& cell : cells)
      for (size_t n = random() % 40; n > 0; --n) cell += "ab \",\n\r\xC3\xA9"[random() % 9];
    text += data::csv_record(cells);
  }
  check_same(scratch.write("any.csv", text));
}

TEST_CASE("lines by their places", "[text_rows]") {
  const Scratch scratch;
  const auto path = scratch.write("l.txt", "\xEF\xBB\xBF" "one\r\n\n  \n two\n\nlast");
  const auto all = data::read_lines(path), some = read_text_lines(path, 0);
  const data::LineFile every(path, false), texts(path, true), first(path, true, 1);
  REQUIRE(every.size() == static_cast<int64_t>(all.size()));
  for (int64_t i = 0; i < every.size(); ++i) CHECK(every.line(i) == all[static_cast<size_t>(i)]);
  REQUIRE(texts.size() == static_cast<int64_t>(some.size()));
  for (int64_t i = 0; i < texts.size(); ++i) CHECK(texts.line(i) == some[static_cast<size_t>(i)]);
  REQUIRE(first.size() == 1);
  CHECK(first.line(0) == "one");
  scratch.write("l.txt", "other\n");
  CHECK_THROWS_WITH(texts.line(0), ContainsSubstring("was changed"));
}

TEST_CASE("labels and pairs of files that are not held", "[text_rows]") {
  const Scratch scratch;
  const auto table = scratch.write("t.csv", "sentence,label\n\"a\n b\",no\nc,yes\n\"d, e\",no\n");
  const auto held = read_labelled_texts(table, {{"single_spaces", true}}, 0);
  const auto left = read_labelled_texts(table, {{"single_spaces", true}, {"stream_above_mb", 0}}, 0);
  CHECK(held.rows.held());
  CHECK_FALSE(left.rows.held());
  CHECK(left.labels == held.labels);
  CHECK(left.first_lines == held.first_lines);
  REQUIRE(left.rows.size() == 3);
  for (int64_t i = 0; i < 3; ++i) CHECK(left.rows.row(i) == held.rows.row(i));
  CHECK_THROWS_WITH(read_labelled_texts(scratch.write("none.csv", "sentence,label\na,x\nb,\n"), kStream, 0), ContainsSubstring("line 3: no label"));

  scratch.write("p/train.de", "eins\n\nzwei\n");
  scratch.write("p/train.en", "one\n\ntwo");
  const Json both = {{"columns", "de,en"}, {"stream_above_mb", 0}};
  const auto pairs = read_text_pairs(scratch / "p", "train", both, 0);
  REQUIRE(pairs.size() == 3);
  CHECK(pairs.split == "train");
  CHECK(pairs.in_file.row(2) == std::vector<std::string>{"zwei", "two"});
  CHECK(pairs.in_file.row(1) == std::vector<std::string>{"", ""});
  CHECK(read_text_pairs(scratch.write("q.csv", "answer,question\n\"A\n1\",q\n"), "", kStream, 0).in_file.row(0) == std::vector<std::string>{"q", "A\n1"});
  scratch.write("p/train.en", "one\n");
  CHECK_THROWS_WITH(read_text_pairs(scratch / "p", "train", both, 0), ContainsSubstring("1"));
  CHECK_THROWS_AS(left_in_file(table, {{"stream_above_mb", -1}}), UsageError);
}

}  // namespace text_rows_tests
