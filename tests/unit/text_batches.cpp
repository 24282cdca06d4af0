#include "app/tasks/text_batches.h"


#include <fstream>
#include <set>

#include "app/cli.h"
#include "app/command_options.h"
#include "tests/catch.h"
#include "tests/cli/program.h"

namespace text_batches_tests {
using namespace zoo;
using namespace zoo::app;
namespace fs = std::filesystem;

tokenizers::Encoding encoding(std::vector<int64_t> ids, int64_t type = 0) {
  tokenizers::Encoding made;
  made.type_ids.assign(ids.size(), type);
  made.ids = std::move(ids);
  return made;
}

TEST_CASE("padding: mask and token types only when they say something", "[text][batches]") {
  const std::vector<tokenizers::Encoding> equal = {encoding({5, 6}), encoding({7, 8})};
  auto inputs = pad_encodings(equal, 9);
  CHECK(inputs.size() == 1);
  CHECK(at::equal(inputs.at("tokens"), at::tensor({5, 6, 7, 8}, at::kLong).view({2, 2})));
  const std::vector<tokenizers::Encoding> mixed = {encoding({5}), encoding({7, 8}, 1)};
  inputs = pad_encodings(mixed, 9);
  CHECK(at::equal(inputs.at("tokens"), at::tensor({5, 9, 7, 8}, at::kLong).view({2, 2})));
  CHECK(at::equal(inputs.at("mask").to(at::kLong), at::tensor({1, 0, 1, 1}, at::kLong).view({2, 2})));
  CHECK(at::equal(inputs.at("token_types"), at::tensor({0, 0, 1, 1}, at::kLong).view({2, 2})));
}

TEST_CASE("batches by length cover everything once within the budget", "[text][batches]") {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < 500; ++i) lengths.push_back(1 + (i * 7919) % 61);
  for (const BatchBudget budget : {BatchBudget{16, 200, false}, BatchBudget{16, 200, true}, BatchBudget{1000, 1 << 20, false}}) {
    std::set<int64_t> seen;
    int64_t previous = 1 << 20;
    for (const auto& batch : batches_by_length(lengths, budget)) {
      const int64_t longest = lengths[batch.front()];
      CHECK(int64_t(batch.size()) <= budget.rows);
      CHECK((batch.size() == 1 || int64_t(batch.size()) * longest <= budget.tokens));
      CHECK(longest <= previous);
      previous = longest;
      for (const int64_t index : batch) {
        CHECK(lengths[index] <= longest);
        if (budget.equal_lengths) CHECK(lengths[index] == longest);
        CHECK(seen.insert(index).second);
      }
    }
    CHECK(seen.size() == lengths.size());
  }
  CHECK(batches_by_length({}, {}).empty());
  const std::vector<int64_t> huge = {100000};
  CHECK(batches_by_length(huge, {}).size() == 1);
}

using zoo::test::Scratch;

TEST_CASE("texts come from lines, tables, folders", "[text][batches]") {
  const Scratch folder;
  RunOptions options;
  options.text = "given";
  options.inputs = {folder.write("a.txt", "\xEF\xBB\xBFone\r\n\n two \n"), folder.write("b.csv", "id,text\n1,\"three, four\"\n"),
                    folder.write("c.jsonl", "{\"sentence\": \"five\"}\n")};
  const auto texts = read_text_inputs(options);
  REQUIRE(texts.size() == 5);
  CHECK(texts[0].text == "given");
  CHECK(texts[1].text == "one");
  CHECK(texts[2].text == " two ");
  CHECK(texts[2].source == (folder.path() / "a.txt").string() + ":3");
  CHECK(texts[3].text == "three, four");
  CHECK(texts[3].source == (folder.path() / "b.csv").string() + ":2");
  CHECK(texts[4].text == "five");
  options.text.clear();
  options.inputs = {folder.path().string()};
  CHECK(read_text_inputs(options).size() == 2);  // the folder's only .txt
}

TEST_CASE("texts: what is wrong is said", "[text][batches]") {
  const Scratch folder;
  RunOptions options;
  CHECK_THROWS_AS(read_text_inputs(options), UsageError);
  options.inputs = {(folder.path() / "none.txt").string()};
  CHECK_THROWS_AS(read_text_inputs(options), UsageError);
  options.inputs = {folder.write("two.csv", "left,right\na,b\n")};
  CHECK_THROWS_WITH(read_text_inputs(options), ContainsSubstring("--column, one of: left, right"));
  options.options["column"] = "rigth";
  CHECK_THROWS_WITH(read_text_inputs(options), ContainsSubstring("nearest: right"));
  options.inputs = {folder.write("binary.txt", std::string("a\0b\n", 4))};
  CHECK_THROWS_WITH(read_text_inputs(options), ContainsSubstring("binary"));
}

TEST_CASE("outputs are not overwritten unasked", "[text][batches]") {
  const Scratch folder;
  const fs::path file = folder.write("out.json", "old");
  CHECK_THROWS_AS(write_output(file, "new", false), UsageError);
  CHECK_THROWS_AS(write_output(folder.path(), "new", true), UsageError);
  CHECK_THROWS_AS(write_output(folder.path() / "none" / "x", "new", false), UsageError);
  write_output(file, "new", true);
  std::string content;
  std::ifstream(file) >> content;
  CHECK(content == "new");
}

TEST_CASE("assignments become JSON", "[batches]") {
  const Json options = parse_assignments({"a=1", "b-c=true", "d=two words", "e=[1, 2]", "f=", "g=x=y"});
  CHECK(options == Json({{"a", 1}, {"b_c", true}, {"d", "two words"}, {"e", {1, 2}}, {"f", ""}, {"g", "x=y"}}));
  CHECK_THROWS_AS(parse_assignments({"novalue"}), UsageError);
  CHECK_THROWS_AS(parse_assignments({"=1"}), UsageError);
  CHECK_THROWS_AS(parse_assignments({"a=1", "a=2"}), UsageError);
}

}  // namespace text_batches_tests
