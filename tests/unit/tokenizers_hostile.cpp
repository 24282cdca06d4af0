// Tokenizer files of the byte-level, Unigram and SentencePiece kinds, damaged on purpose: a message or a working tokenizer,
// never a crash, never memory without end.
#include <functional>
#include <random>

#include "tests/catch.h"
#include "tests/unit/tokenizers_support.h"

namespace tokenizer_hostile {

using Json = nlohmann::json;
using tokenizer_tests::TemporaryFolder;

constexpr auto kText = "  aab <s>\xC3\xA9 ba<x>bab 12.\xE4\xB8\xAD\xFF\n\xF0\x9F\x91\x8D";

/// What is said of a file; empty when it loads and works. Anything but the two documented exceptions comes through.
std::string complaint(const std::filesystem::path& path) {
  try {
    const auto tokenizer = zoo::tokenizers::load(path);
    const auto encoding = tokenizer->encode(kText, "b");
    tokenizer->decode(encoding.ids, false);
    tokenizer->decode({0, 1, 2, 3, 4, 5, 6, 7, 100, 4294967295, -1}, false);
  } catch (const std::runtime_error& error) {
    return error.what();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

std::string complaint_about(const std::string& name, const std::string& content) {
  TemporaryFolder folder;
  folder.write(name, content);
  return complaint(folder.path);
}

std::string complaint_about_pair(const std::string& vocab, const std::string& merges) {
  TemporaryFolder folder;
  folder.write("vocab.json", vocab);
  folder.write("merges.txt", merges);
  return complaint(folder.path);
}

/// A tokenizer.json around one part.
std::string complaint_about_part(const std::string& key, const std::string& part) {
  auto document = tokenizer_tests::read_fixture("stages.json").at("base");
  if (key == "model") document["added_tokens"] = Json::array();
  document[key] = Json::parse(part);
  return complaint_about("tokenizer.json", document.dump());
}

void check_mentions(const std::string& message, const std::vector<std::string>& parts) {
  for (const auto& part : parts) {
    INFO("message: " << message << "\nexpected in it: " << part);
    CHECK(message.find(part) != std::string::npos);
  }
}

std::string read_binary(const std::string& name) {
  std::ifstream file(std::filesystem::path(ZOO_TEST_DIR) / "fixtures/tokenizers" / name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Puts something else in place of a value, at most six levels down.
void damage(Json& document, std::mt19937& random) {
  static const std::vector<Json> kOthers = {nullptr,       true, -1,  0,  4294967295U, 5000000000, 1e300,         "",
                                            "\xF0\x9F\x91\x8D", "a",  Json::array(), Json::object(), "[(", {{"type", "Sequence"}}, Json::array({1, "a"})};
  Json* at = &document;
  for (int depth = 0; depth < 6 && at->is_structured() && !at->empty(); ++depth) {
    if (depth > 0 && random() % 4 == 0) break;
    at = &*std::next(at->begin(), static_cast<std::ptrdiff_t>(random() % at->size()));
  }
  *at = kOthers[random() % kOthers.size()];
}

}  // namespace tokenizer_hostile

TEST_CASE("faulty vocab.json and merges.txt", "[tokenizers]") {
  using namespace tokenizer_hostile;
  const std::string vocab = R"({"a": 0, "b": 1, "ab": 2})";
  CHECK(complaint_about_pair(vocab, "#version: 0.2\na b\n").empty());
  check_mentions(complaint_about_pair(vocab, "a b\nb z\n"), {"merges.txt", "merge 2", "\"z\"", "both files of one tokenizer"});
  check_mentions(complaint_about_pair(vocab, "b a\n"), {"merge 1", "\"ba\""});
  check_mentions(complaint_about_pair(vocab, "a b\nab\n"), {"merges.txt", "line 2"});
  check_mentions(complaint_about_pair(vocab, "a b\n\xFF \xFE\n"), {"merges.txt", "line 2"});
  check_mentions(complaint_about_pair("[]", "a b\n"), {"vocab.json", "a list", "an object"});
  check_mentions(complaint_about_pair("{}", ""), {"vocab.json", "empty"});
  check_mentions(complaint_about_pair(R"({"a": "0"})", ""), {"vocab.json", "\"a\"", "token id"});
  check_mentions(complaint_about_pair(R"({"a": 1e400})", ""), {"vocab.json", "not usable JSON"});
  check_mentions(complaint_about_pair(R"({"a": 18446744073709551616})", ""), {"vocab.json", "token id"});
  check_mentions(complaint_about_pair(R"({"a": 4294967295})", ""), {"4294967295"});
  check_mentions(complaint_about_pair(vocab.substr(0, 12), "a b\n"), {"vocab.json", "not valid JSON"});
  check_mentions(complaint_about_pair("{\"\xFF\": 0}", ""), {"vocab.json", "not valid JSON"});
  check_mentions(complaint_about("vocab.json", vocab), {"vocab.json without merges.txt"});
  check_mentions(complaint_about("merges.txt", "a b\n"), {"merges.txt without vocab.json"});
}

TEST_CASE("faulty BPE, Unigram and word models", "[tokenizers]") {
  using namespace tokenizer_hostile;
  const auto model = [](const std::string& part) { return complaint_about_part("model", part); };
  check_mentions(model(R"({"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "q"]]})"), {"tokenizer.json", "merge 1", "\"q\""});
  check_mentions(model(R"({"type": "BPE", "vocab": {"a": 0}, "merges": [["a"]]})"), {"model.merges[0]", "[left, right]"});
  check_mentions(model(R"({"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]})"), {"model.merges[0]", "one space"});
  check_mentions(model(R"({"type": "BPE", "vocab": {"a": 0}, "merges": [], "unk_token": "?"})"), {"\"?\"", "unk_token"});
  check_mentions(model(R"({"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 0.1})"), {"model.dropout", "0.1"});
  check_mentions(model(R"({"type": "BPE", "vocab": {"a": 0}, "merges": [], "byte_fallback": true, "end_of_word_suffix": "</w>"})"), {"model.byte_fallback", "false"});
  check_mentions(model(R"({"type": "Unigram", "vocab": []})"), {"empty"});
  check_mentions(model(R"({"type": "Unigram", "vocab": {"a": 0}})"), {"model.vocab", "[piece, score]"});
  check_mentions(model(R"({"type": "Unigram", "vocab": [["a", "x"]]})"), {"model.vocab[0]", "[piece, score]"});
  check_mentions(model(R"({"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 1})"), {"unk_id is 1", "1 pieces"});
  check_mentions(model(R"({"type": "Unigram", "vocab": [["q", 0.0]]})"), {"not in the vocabulary", "unk_id"});
  check_mentions(model(R"({"type": "WordLevel", "vocab": {"a": 0}, "unk_token": 3})"), {"model.unk_token", "3"});
}

TEST_CASE("faulty patterns, tables and chains", "[tokenizers]") {
  using namespace tokenizer_hostile;
  check_mentions(complaint_about_part("pre_tokenizer", R"({"type": "UnicodeScripts"})"), {"UnicodeScripts", "supported", "ByteLevel"});
  check_mentions(complaint_about_part("pre_tokenizer", R"({"type": "Split", "pattern": {"Regex": "[a"}, "behavior": "Isolated"})"), {"[a", "unfinished"});
  check_mentions(complaint_about_part("pre_tokenizer", R"({"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Sideways"})"), {"Sideways", "Contiguous"});
  const auto table = [](const std::string& text) { return complaint_about_part("normalizer", R"({"type": "Precompiled", "precompiled_charsmap": ")" + text + "\"}"); };
  check_mentions(table("!!!!"), {"base64"});
  check_mentions(table("AAAA"), {"at least 4"});
  check_mentions(table("/////w=="), {"precompiled_charsmap", "complete"});
  // Nested quantifiers on a long text: a message after a bounded number of steps.
  auto document = tokenizer_tests::read_fixture("stages.json").at("base");
  document["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"Regex", "(a|a)*$"}}}, {"behavior", "Isolated"}};
  TemporaryFolder folder;
  const auto slow = zoo::tokenizers::load(folder.write("tokenizer.json", document.dump()));
  CHECK_THROWS_AS(slow->encode(std::string(40, 'a') + "b"), std::runtime_error);
  // Each step doubles the text.
  Json chain = Json::array();
  for (int i = 0; i < 60; ++i) chain.push_back({{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}});
  check_mentions(complaint_about_part("normalizer", Json{{"type", "Sequence"}, {"normalizers", chain}}.dump()), {"Replace", "64 times"});
  document["pre_tokenizer"] = nullptr;
  document["decoder"] = {{"type", "Sequence"}, {"decoders", chain}};
  const auto growing = zoo::tokenizers::load(folder.write("tokenizer.json", document.dump()));
  CHECK_THROWS_AS(growing->decode(growing->encode("a").ids), std::runtime_error);
}

TEST_CASE("tokenizer.json with values of other types anywhere", "[tokenizers]") {
  using namespace tokenizer_hostile;
  const auto golden = tokenizer_tests::read_fixture("stages.json");
  std::mt19937 random(7);
  size_t refused = 0, total = 0;
  TemporaryFolder folder;
  for (const auto& stage : golden.at("stages")) {
    for (int round = 0; round < 12; ++round, ++total) {
      auto document = golden.at("base");
      document.update(stage.at("parts"));
      damage(document, random);
      INFO(Json::diff(golden.at("base"), document).dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 2000));
      folder.write("tokenizer.json", document.dump());
      REQUIRE_NOTHROW(refused += !complaint(folder.path).empty());
    }
  }
  CHECK(refused > total / 4);
  CHECK(refused < total);
}

TEST_CASE("SentencePiece models cut short or with wrong bytes", "[tokenizers]") {
  using namespace tokenizer_hostile;
  check_mentions(complaint_about("spm.model", ""), {"spm.model", "no pieces"});
  check_mentions(complaint_about("spm.model", "{\"version\": 1}"), {"spm.model", "SentencePiece"});
  TemporaryFolder folder;
  std::mt19937 random(11);
  for (const std::string name : {"small_bpe.model", "small_unigram.model", "small_suffix.model"}) {
    const std::string model = read_binary(name);
    REQUIRE(model.size() > 1000);
    REQUIRE(complaint_about("spm.model", model).empty());
    size_t refused = 0;
    for (int round = 0; round < 300; ++round) {
      std::string damaged = model;
      if (round % 3 == 0) damaged.resize(random() % model.size());
      for (size_t k = random() % 8; k-- > 0 && !damaged.empty();) damaged[random() % damaged.size()] = static_cast<char>(random());
      INFO(name << ", round " << round);
      folder.write("spm.model", damaged);
      REQUIRE_NOTHROW(refused += !complaint(folder.path).empty());
    }
    CHECK(refused > 50);
  }
}
