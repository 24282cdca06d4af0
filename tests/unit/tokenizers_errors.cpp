// Damaged, incomplete and hostile tokenizer files and texts: a message that names file and fault, never a
// crash.
#include <chrono>
#include <functional>
#include <thread>

#include "tests/catch.h"
#include "tests/unit/tokenizers_support.h"

namespace tokenizer_errors {

using tokenizer_tests::TemporaryFolder;

const std::string kVocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\nhello\n";

/// A complete small tokenizer.json, to be damaged.
nlohmann::json good() {
  return nlohmann::json::parse(R"({"version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 0, "content": "[UNK]", "special": true, "normalized": false,
                      "lstrip": false, "rstrip": false, "single_word": false}],
    "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
                   "lowercase": true},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
              "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "##b": 4}}})");
}

std::string failure(const std::filesystem::path& path) {
  try {
    zoo::tokenizers::load(path);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

std::string failure_of(const std::string& name, const std::string& text) {
  TemporaryFolder folder;
  folder.write(name, text);
  return failure(folder.path);
}

std::string failure_after(const std::function<void(nlohmann::json&)>& damage) {
  auto document = good();
  damage(document);
  return failure_of("tokenizer.json", document.dump());
}

void check_mentions(const std::string& message, const std::vector<std::string>& parts) {
  for (const auto& part : parts) {
    INFO("message: " << message << "\nexpected in it: " << part);
    CHECK(message.find(part) != std::string::npos);
  }
}

std::unique_ptr<zoo::tokenizers::Tokenizer> small_tokenizer() {
  TemporaryFolder folder;
  return zoo::tokenizers::load(folder.write("vocab.txt", kVocab));
}

}  // namespace tokenizer_errors

TEST_CASE("missing tokenizer files are named", "[tokenizers]") {
  using namespace tokenizer_errors;
  TemporaryFolder folder;
  check_mentions(failure(folder.path), {folder.path.string(), "tokenizer.json", "vocab.txt"});
  check_mentions(failure(folder.path / "absent"), {"absent", "no such file or folder", "tokenizer.json"});
  std::filesystem::create_directory(folder.path / "vocab.txt");
  check_mentions(failure(folder.path), {"vocab.txt", "not a regular file"});
}

TEST_CASE("faulty vocab.txt", "[tokenizers]") {
  using namespace tokenizer_errors;
  check_mentions(failure_of("vocab.txt", ""), {"vocab.txt", "empty"});
  check_mentions(failure_of("vocab.txt", "[PAD]\n[CLS]\n[SEP]\nhello\n"),
                 {"vocab.txt", "4 tokens", "[UNK]"});
  check_mentions(failure_of("vocab.txt", "[UNK]\n\xff\xfe\n"), {"vocab.txt", "line 2", "UTF-8"});
  TemporaryFolder folder;
  folder.write("vocab.txt", kVocab);
  folder.write("tokenizer_config.json", R"({"do_lower_case": "yes"})");
  check_mentions(failure(folder.path),
                 {"tokenizer_config.json", "do_lower_case", "\"yes\"", "true or false"});
  folder.write("tokenizer_config.json", R"({"cls_token": ""})");
  check_mentions(failure(folder.path), {"tokenizer_config.json", "cls_token"});
  folder.write("tokenizer_config.json", R"({"model_max_length": -5})");
  check_mentions(failure(folder.path), {"tokenizer_config.json", "model_max_length", "-5"});
}

TEST_CASE("tokenizer.json with wrong types or unknown parts", "[tokenizers]") {
  using namespace tokenizer_errors;
  REQUIRE(failure_of("tokenizer.json", good().dump()).empty());
  using Json = nlohmann::json;
  check_mentions(failure_after([](Json& j) { j.erase("model"); }), {"tokenizer.json", "model is missing"});
  check_mentions(failure_after([](Json& j) { j["model"]["type"] = "Bpe2"; }),
                 {"model.type", "Bpe2", "WordPiece"});
  check_mentions(failure_after([](Json& j) { j["model"]["vocab"] = Json::array(); }),
                 {"model.vocab", "a list", "an object"});
  check_mentions(failure_after([](Json& j) { j["model"]["vocab"]["a"] = -1; }), {"model.vocab", "a", "-1"});
  check_mentions(failure_after([](Json& j) { j["model"]["vocab"]["a"] = 1.5; }), {"model.vocab", "1.5"});
  check_mentions(failure_after([](Json& j) { j["model"]["vocab"]["a"] = 5000000000; }),
                 {"model.vocab", "5000000000"});
  check_mentions(failure_after([](Json& j) { j["model"]["vocab"] = Json::object(); }), {"empty"});
  check_mentions(failure_after([](Json& j) { j["model"]["unk_token"] = "<unk>"; }), {"<unk>"});
  check_mentions(failure_after([](Json& j) { j["model"]["unk_token"] = 7; }),
                 {"model.unk_token", "7", "a string"});
  check_mentions(failure_after([](Json& j) { j["normalizer"]["type"] = "Magic"; }),
                 {"normalizer.type", "Magic", "BertNormalizer"});
  check_mentions(failure_after([](Json& j) { j["normalizer"]["lowercase"] = 1; }),
                 {"normalizer.lowercase", "1"});
  check_mentions(failure_after([](Json& j) {
                   j["normalizer"] = {{"type", "Replace"}, {"pattern", {{"Regex", "(a"}}}, {"content", ""}};
                 }),
                 {"regular expression", "(a"});
  check_mentions(failure_after([](Json& j) { j["pre_tokenizer"]["type"] = "Magic"; }),
                 {"pre_tokenizer.type", "Magic", "Whitespace"});
  check_mentions(failure_after([](Json& j) { j["post_processor"]["type"] = "Magic"; }),
                 {"post_processor.type", "TemplateProcessing"});
  check_mentions(failure_after([](Json& j) { j["post_processor"]["sep"] = "x"; }),
                 {"post_processor.sep", "\"x\"", "a list"});
  check_mentions(failure_after([](Json& j) { j["decoder"]["type"] = "Magic"; }), {"decoder.type", "Magic"});
  check_mentions(failure_after([](Json& j) { j["added_tokens"] = "x"; }), {"added_tokens", "a list"});
  check_mentions(failure_after([](Json& j) { j["added_tokens"][0]["id"] = 3; }),
                 {"added_tokens[0]", "[UNK]", "3"});
  check_mentions(failure_after([](Json& j) { j["version"] = "2.0"; }), {"version", "2.0"});
  check_mentions(failure_of("tokenizer.json", R"({"version": 1e999})"), {"tokenizer.json", "not usable JSON"});
  check_mentions(failure_of("tokenizer.json", "[1, 2]"), {"the document is a list", "an object"});
}

TEST_CASE("post-processor templates are checked", "[tokenizers]") {
  using namespace tokenizer_errors;
  const auto with_template = [](const std::string& single, const std::string& special) {
    return failure_after([&](nlohmann::json& j) {
      j["post_processor"] = {{"type", "TemplateProcessing"},
                             {"single", nlohmann::json::parse(single)},
                             {"pair", nlohmann::json::array()},
                             {"special_tokens", nlohmann::json::parse(special)}};
    });
  };
  check_mentions(with_template(R"([{"SpecialToken": {"id": "[X]", "type_id": 0}}])", "{}"),
                 {"special_tokens.[X]", "missing"});
  check_mentions(with_template(R"([{"Sequence": {"id": "C", "type_id": 0}}])", "{}"),
                 {"\"C\"", "\"A\" or \"B\""});
  check_mentions(with_template(R"([{"Sequence": {"id": "B", "type_id": 0}}])", "{}"),
                 {"single", "no second text"});
  check_mentions(with_template(R"([7])", "{}"), {"single[0]", "7"});
}

TEST_CASE("truncated JSON at every length is refused", "[tokenizers]") {
  using namespace tokenizer_errors;
  const std::string text = good().dump();
  for (size_t length = 0; length < text.size(); length += 7) {
    INFO("first " << length << " bytes");
    CHECK_FALSE(failure_of("tokenizer.json", text.substr(0, length)).empty());
  }
}

TEST_CASE("deeply nested JSON does not exhaust the stack", "[tokenizers]") {
  using namespace tokenizer_errors;
  const size_t depth = 2'000'000;
  check_mentions(failure_of("tokenizer.json", std::string(depth, '[')), {"nested"});
  std::string sequences;
  for (size_t i = 0; i < 100'000; ++i) sequences += R"({"type":"Sequence","normalizers":[)";
  check_mentions(failure_of("tokenizer.json", R"({"normalizer":)" + sequences), {"nested"});
}

TEST_CASE("a hundred megabytes of one word are one unknown token, quickly", "[tokenizers]") {
  const auto tokenizer = tokenizer_errors::small_tokenizer();
  const size_t bytes = 100'000'000;
  const auto start = std::chrono::steady_clock::now();
  const auto encoding = tokenizer->encode(std::string(bytes, 'a'));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  CHECK(encoding.ids == std::vector<int64_t>{2, 1, 3});
  CHECK(encoding.offsets.at(1) == std::pair<size_t, size_t>(0, bytes));
  CHECK(seconds.count() < 10);
}

TEST_CASE("a limit too small for the special tokens is refused", "[tokenizers]") {
  const auto tokenizer = tokenizer_errors::small_tokenizer();
  CHECK_THROWS_AS(tokenizer->encode("a", std::nullopt, 1), std::invalid_argument);
  CHECK_THROWS_AS(tokenizer->encode("a", "a", 2), std::invalid_argument);
  CHECK(tokenizer->encode("a", std::nullopt, 2).ids == std::vector<int64_t>{2, 3});
}

TEST_CASE("ids and tokens both ways", "[tokenizers]") {
  const auto tokenizer = tokenizer_errors::small_tokenizer();
  CHECK(tokenizer->token_to_id("hello") == 7);
  CHECK_FALSE(tokenizer->token_to_id("absent").has_value());
  CHECK(tokenizer->id_to_token(7) == "hello");
  CHECK_THROWS_AS(tokenizer->id_to_token(8), std::out_of_range);
  CHECK_THROWS_AS(tokenizer->id_to_token(-1), std::out_of_range);
  CHECK(tokenizer->decode({2, 7, 5, 6, 3, 99, -4}) == "hello ab");
  CHECK(tokenizer->decode({2, 7, 3}, false) == "[CLS] hello [SEP]");
  CHECK(tokenizer->model_max_length() == std::numeric_limits<size_t>::max());
}

TEST_CASE("tokenizer_config.json decides over tokenizer.json for BERT's class", "[tokenizers]") {
  using namespace tokenizer_errors;
  TemporaryFolder folder;
  folder.write("tokenizer.json", good().dump());
  CHECK(zoo::tokenizers::load(folder.path)->encode("Ab").ids == std::vector<int64_t>{1, 3, 4, 2});
  folder.write("tokenizer_config.json",
               R"({"tokenizer_class": "BertTokenizer", "do_lower_case": false, "model_max_length": 512})");
  const auto cased = zoo::tokenizers::load(folder.path);
  CHECK(cased->encode("Ab").ids == std::vector<int64_t>{1, 0, 2});
  CHECK(cased->model_max_length() == 512);
}

TEST_CASE("one tokenizer serves several threads", "[tokenizers]") {
  const auto tokenizer = tokenizer_errors::small_tokenizer();
  const std::string text = "hello ab \xC3\xA9 [MASK] a";
  const auto expected = tokenizer->encode(text).ids;
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (auto& count : wrong) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) count += tokenizer->encode(text).ids != expected;
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4, 0));
}
