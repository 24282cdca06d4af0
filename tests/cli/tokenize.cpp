// zoo run --task tokenize through the real program, on tokenizer files without a network.
#include "tests/catch.h"
#include "tests/cli/program.h"

namespace cli_tokenize_tests {

using zoo::test::zoo_program;

/// BERT's WordPiece, seven tokens.
std::string tokenizer(const zoo::test::Scratch& scratch) {
  scratch.write("net/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\n##s\n");
  return "'" + (scratch / "net").string() + "'";
}

TEST_CASE("the program writes ids, pieces and offsets for each line", "[cli]") {
  const zoo::test::Scratch scratch;
  const auto net = tokenizer(scratch);
  const auto input = scratch.write("in.txt", "hello Hellos\n\n\xC3\xA9 \xFF hello").string();
  const auto result = zoo_program("run " + net + " --task tokenize --input '" + input + "' --json");
  REQUIRE(result.code == 0);
  std::istringstream lines(result.out);
  std::vector<nlohmann::json> rows;
  for (std::string line; std::getline(lines, line);) rows.push_back(nlohmann::json::parse(line));
  REQUIRE(rows.size() == 3);
  CHECK(rows[0] == nlohmann::json::parse(R"({"ids": [2, 5, 5, 6, 3], "pieces": ["[CLS]", "hello", "hello", "##s", "[SEP]"],
                                             "offsets": [[0, 0], [0, 5], [6, 11], [11, 12], [0, 0]]})"));
  CHECK(rows[1].at("ids") == nlohmann::json::parse("[2, 3]"));  // an empty line keeps its place
  CHECK(rows[2].at("offsets").back() == nlohmann::json::parse("[0, 0]"));
  CHECK(rows[2].at("pieces").at(1) == "[UNK]");
  const auto piped = zoo_program("run " + net + " --task tokenize -", "cat '" + input + "' |");
  REQUIRE(piped.code == 0);
  CHECK(piped.out.starts_with("[CLS] hello hello ##s [SEP]\n[CLS] [SEP]\n"));
  const auto sentence = zoo_program("run " + net + " --task tokenize --input 'hello hello hello' --max-length 4");
  CHECK(sentence.out == "[CLS] hello hello [SEP]\n");
}

TEST_CASE("tokenize writes files whole and refuses what it cannot do", "[cli]") {
  const zoo::test::Scratch scratch;
  const auto net = tokenizer(scratch);
  const auto out = scratch / "out.jsonl";
  const std::string command = "run " + net + " --task tokenize --input hello --json --out '" + out.string() + "'";
  REQUIRE(zoo_program(command).code == 0);
  CHECK(nlohmann::json::parse(zoo::test::file_text(out)).at("ids") == nlohmann::json::parse("[2, 5, 3]"));
  const auto again = zoo_program(command);
  CHECK(again.code == 2);
  CHECK_THAT(again.err, ContainsSubstring("--overwrite"));
  const auto nothing = zoo_program("run " + net + " --task tokenize");
  CHECK(nothing.code == 2);
  CHECK_THAT(nothing.err, ContainsSubstring("--input"));
  const auto eval = zoo_program("eval " + net + " --task tokenize --data '" + out.string() + "'");
  CHECK(eval.code != 0);
  scratch.write("bad/tokenizer.json", R"({"model": {"type": "Sentences"}})");
  const auto bad = zoo_program("run '" + (scratch / "bad").string() + "' --task tokenize --input hello");
  CHECK(bad.code == 1);
  CHECK_THAT(bad.err, ContainsSubstring("Sentences") && ContainsSubstring("Unigram"));
}

}  // namespace cli_tokenize_tests
