// WordPiece, and every stage of a tokenizer.json, against what the reference library makes of difficult texts
// (tests/reference/wordpiece.py, tests/reference/tokenizer_stages.py).
#include "tests/catch.h"
#include "tests/unit/tokenizers_support.h"

namespace tokenizer_golden {

using Json = nlohmann::json;

std::string input_of(const Json& test) {
  if (test.contains("text")) return test.at("text").get<std::string>();
  const auto hex = test.at("bytes").get<std::string>();
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

void check(const zoo::tokenizers::Tokenizer& tokenizer, const Json& test) {
  const std::string text = input_of(test);
  std::optional<std::string> pair;
  if (test.contains("pair")) pair = test.at("pair").get<std::string>();
  const auto max_length = test.value("max_length", size_t{0});
  const auto got = tokenizer.encode(text, pair, max_length);
  INFO("case " << test.dump());
  CHECK(got.ids == test.at("ids").get<std::vector<int64_t>>());
  REQUIRE(got.type_ids.size() == got.ids.size());
  REQUIRE(got.special.size() == got.ids.size());
  REQUIRE(got.offsets.size() == got.ids.size());
  REQUIRE(got.word_ids.size() == got.ids.size());
  if (test.contains("type_ids"))
    CHECK(got.type_ids == test["type_ids"].get<std::vector<int64_t>>());
  if (test.contains("word_ids")) CHECK(got.word_ids == test["word_ids"].get<std::vector<int64_t>>());
  if (test.contains("offsets"))
    CHECK(got.offsets == test["offsets"].get<std::vector<std::pair<size_t, size_t>>>());
  if (test.contains("special"))
    CHECK(got.special == [&] {
      std::vector<bool> flags;
      for (const auto& flag : test["special"]) flags.push_back(flag.get<int>() != 0);
      return flags;
    }());
  if (test.contains("decoded")) CHECK(tokenizer.decode(got.ids) == test["decoded"].get<std::string>());
}

void check_all(const zoo::tokenizers::Tokenizer& tokenizer, const Json& entry) {
  for (const auto& test : entry.value("cases", Json::array())) check(tokenizer, test);
  for (const auto& test : entry.value("decoded", Json::array())) {
    INFO(test.dump());
    CHECK(tokenizer.decode(test.at("ids").get<std::vector<int64_t>>()) == test.at("text").get<std::string>());
  }
}

}  // namespace tokenizer_golden

TEST_CASE("WordPiece gives the reference's ids, offsets and decoded text", "[tokenizers]") {
  const auto golden = tokenizer_tests::read_fixture("wordpiece_golden.json");
  REQUIRE(golden.at("tokenizers").size() >= 10);
  for (const auto& entry : golden.at("tokenizers")) {
    INFO(entry.at("name").get<std::string>());
    tokenizer_tests::TemporaryFolder folder;
    for (const auto& [name, text] : entry.at("files").items()) folder.write(name, text.get<std::string>());
    const auto tokenizer = zoo::tokenizers::load(folder.path);
    CHECK(tokenizer->vocab_size() == entry.at("vocab_size").get<int64_t>());
    const auto& special = entry.at("special");
    CHECK(tokenizer->pad_id() == special.at("[PAD]").get<int64_t>());
    CHECK(tokenizer->unk_id() == special.at("[UNK]").get<int64_t>());
    CHECK(tokenizer->cls_id() == special.at("[CLS]").get<int64_t>());
    CHECK(tokenizer->sep_id() == special.at("[SEP]").get<int64_t>());
    CHECK(tokenizer->mask_id() == special.at("[MASK]").get<int64_t>());
    for (const auto& test : entry.at("cases")) tokenizer_golden::check(*tokenizer, test);
  }
}

TEST_CASE("every normalizer, pre-tokenizer, model, post-processor and decoder equals the reference's", "[tokenizers]") {
  const auto golden = tokenizer_tests::read_fixture("stages.json");
  REQUIRE(golden.at("stages").size() >= 100);
  for (const auto& stage : golden.at("stages")) {
    auto document = golden.at("base");
    document.update(stage.at("parts"));
    INFO(stage.at("parts").dump());
    tokenizer_tests::TemporaryFolder folder;
    const auto tokenizer = zoo::tokenizers::load(folder.write("tokenizer.json", document.dump()));
    tokenizer_golden::check_all(*tokenizer, stage);
  }
}

TEST_CASE("SentencePiece models of all kinds, with byte fallback and symbols of the user's own", "[tokenizers]") {
  const auto golden = tokenizer_tests::read_fixture("stages.json");
  for (const auto& entry : golden.at("sentencepiece")) {
    const auto name = entry.at("file").get<std::string>();
    INFO(name);
    const auto tokenizer = zoo::tokenizers::load(std::filesystem::path(ZOO_TEST_DIR) / "fixtures/tokenizers" / name);
    REQUIRE(entry.at("cases").size() + entry.at("decoded").size() >= 20);
    tokenizer_golden::check_all(*tokenizer, entry);
  }
}
