#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "data/conll.h"
#include "data/jsonl.h"
#include "data/text_lines.h"
#include "tests/catch.h"

namespace text_files_tests {
using namespace zoo::data;
namespace fs = std::filesystem;
using Words = std::vector<std::string>;

struct File {
  fs::path path;
  File(const std::string& name, const std::string& text)
      : path(fs::temp_directory_path() / (std::to_string(::getpid()) + name)) {
    std::ofstream(path, std::ios::binary) << text;
  }
  ~File() { fs::remove(path); }
};

TEST_CASE("lines come without byte order mark and line ends", "[data]") {
  const File file("a.txt", "\xEF\xBB\xBFone\r\n\r\ntwo\nthree");
  TextLines lines(file.path);
  std::string line;
  Words seen;
  while (lines.next(line)) seen.push_back(line);
  CHECK(seen == Words{"one", "", "two", "three"});
  CHECK(lines.number() == 4);
}

TEST_CASE("binary files, long lines and missing files are refused", "[data]") {
  std::string line;
  const File binary("b.txt", std::string("a\0b", 3)), longer("c.txt", "12345");
  CHECK_THROWS_WITH(TextLines(binary.path).next(line), ContainsSubstring("zero byte"));
  CHECK_THROWS_WITH(TextLines(longer.path, 4).next(line), ContainsSubstring("longer than 4 bytes"));
  CHECK_THROWS_WITH(TextLines("/no/such/file"), ContainsSubstring("no such file"));
  CHECK_THROWS_WITH(TextLines(fs::temp_directory_path()), ContainsSubstring("not a regular file"));
}

TEST_CASE("JSON Lines", "[data]") {
  const File file("a.jsonl", "{\"a\": 1}\r\n\n {\"b\": [2, \"x\"]}\n");
  const auto rows = read_jsonl(file.path);
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].value.at("a") == 1);
  CHECK(rows[1].line == 3);
  CHECK(read_jsonl(file.path, 1).size() == 1);
  const File list("b.jsonl", "{}\n[1]\n"), broken("c.jsonl", "{}\n{\"a\": \n"), none("d.jsonl", "\n"),
      deep("e.jsonl", "{\"a\":" + std::string(100000, '[') + std::string(100000, ']') + "}");
  CHECK_THROWS_WITH(read_jsonl(list.path), ContainsSubstring("line 2") && ContainsSubstring("array"));
  CHECK_THROWS_WITH(read_jsonl(broken.path), ContainsSubstring("line 2: not JSON"));
  CHECK_THROWS_WITH(read_jsonl(none.path), ContainsSubstring("empty"));
  CHECK_THROWS_WITH(read_jsonl(deep.path), ContainsSubstring("nested deeper"));
}

TEST_CASE("CoNLL files with blanks: first column the token, last the label", "[data]") {
  const File file(
      "a.conll",
      "-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n\n# O\nPeter NNP B-NP B-PER  \n");
  const auto sentences = read_conll(file.path);
  REQUIRE(sentences.size() == 2);
  CHECK(sentences[0].tokens == Words{"EU", "rejects"});
  CHECK(sentences[0].labels == Words{"B-ORG", "O"});
  CHECK(sentences[0].line == 3);
  CHECK(sentences[1].tokens == Words{"#", "Peter"});
  CHECK(sentences[1].labels == Words{"O", "B-PER"});
  CHECK(read_conll(file.path, 1).size() == 1);
}

TEST_CASE("CoNLL files with tabs: comments, tokens with blanks", "[data]") {
  const File file("b.conll", "# sent_id = 1 of 2\nNew York\tB-LOC\r\n#\tO\r\n\r\n# text\nok\tO\n");
  const auto sentences = read_conll(file.path);
  REQUIRE(sentences.size() == 2);
  CHECK(sentences[0].tokens == Words{"New York", "#"});
  CHECK(sentences[1].tokens == Words{"ok"});
  const File alone("c.conll", "EU B-ORG\nrejects\n"), empty("d.conll", "\n\n");
  CHECK_THROWS_WITH(read_conll(alone.path), ContainsSubstring("line 2") && ContainsSubstring("one column"));
  CHECK_THROWS_WITH(read_conll(empty.path), ContainsSubstring("empty"));
}

TEST_CASE("token lists in JSON Lines", "[data]") {
  const File file(
      "a.jsonl",
      "{\"tokens\": [\"EU\", \"!\"], \"ner_tags\": [3, 0]}\n{\"tokens\": [\"ok\"], \"ner_tags\": [0]}\n");
  const auto sentences = read_labelled_tokens(file.path);
  REQUIRE(sentences.size() == 2);
  CHECK(sentences[0].labels == Words{"3", "0"});
  const File uneven("b.jsonl", "{\"tokens\": [\"a\", \"b\"], \"labels\": [\"O\"]}\n"),
      number("c.jsonl", "{\"tokens\": [1], \"labels\": [\"O\"]}\n"),
      mixed("d.jsonl", "{\"tokens\": [\"a\"], \"labels\": [\"O\"]}\n{\"tokens\": [\"a\"]}\n"),
      other("e.jsonl", "{\"words\": []}\n");
  CHECK_THROWS_WITH(read_token_jsonl(uneven.path), ContainsSubstring("2 tokens but 1 labels"));
  CHECK_THROWS_WITH(read_token_jsonl(number.path), ContainsSubstring("a list of texts"));
  CHECK_THROWS_WITH(read_token_jsonl(mixed.path), ContainsSubstring("line 2"));
  CHECK_THROWS_WITH(read_token_jsonl(other.path), ContainsSubstring("no \"tokens\""));
}

}  // namespace text_files_tests
