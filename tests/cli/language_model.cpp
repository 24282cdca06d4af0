// Language models through the real program: perplexity in windows, and training on text files.
#include <cmath>

#include "tests/catch.h"
#include "tests/cli/checkpoint.h"

namespace cli_language_model_tests {
using zoo::Json;
using zoo::test::Checkpoint;
using zoo::test::has;
using zoo::test::texts_reference;
using zoo::test::zoo_program;

TEST_CASE("zoo eval --task generate: the reference's loss in overlapping windows", "[cli][seq2seq]") {
  const Checkpoint checkpoint("gpt2");
  std::string text;
  for (const auto& line : texts_reference().at("lines")) text += (text.empty() ? "" : "\n") + line.get<std::string>();
  checkpoint.write("text.txt", text);
  for (const Json& one : checkpoint.network.at("losses")) {
    INFO(one.dump());
    const auto outcome = zoo_program("eval " + checkpoint.at("net") + " --task generate --data " + checkpoint.at("text.txt") + " --json --option max_length=" +
                                     one.at("max_length").dump() + " --option stride=" + one.at("stride").dump());
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    const auto document = outcome.json();
    const auto& metrics = document.at("metrics");
    CHECK(metrics.at("tokens") == one.at("tokens"));
    CHECK(metrics.at("loss").get<double>() == Approx(one.at("loss").get<double>()).epsilon(1e-5));
    CHECK(metrics.at("perplexity").get<double>() == Approx(std::exp(one.at("loss").get<double>())).epsilon(1e-4));
  }
  const auto fails = [&](const std::string& more, const std::string& message) {
    const auto outcome = zoo_program("eval " + checkpoint.at("net") + " --task generate --data " + checkpoint.at("text.txt") + more);
    INFO(outcome.err);
    CHECK(outcome.code == 2);
    CHECK(has(outcome.err, message));
  };
  fails(" --option max_length=24 --option stride=25", "stride is 25; a whole number from 1 to the window's 24 tokens");
  fails(" --option max_length=200", "a whole number from 3 to 100");
  checkpoint.write("text.txt", "cat");
  fails("", "1 tokens; a text of two at least");
}

TEST_CASE("a small GPT-2 learns a text by heart, from a text file and from a table", "[cli][seq2seq]") {
  const Checkpoint checkpoint("gpt2");
  at::manual_seed(1);
  checkpoint.save_weights([](auto& tensors) {  // as before any training
    for (auto& [key, value] : tensors)
      if (value.dim() > 1) value = at::randn_like(value) * 0.1;
  });
  checkpoint.change("config.json", {{"resid_pdrop", 0.0}, {"embd_pdrop", 0.0}, {"attn_pdrop", 0.0}});
  std::string text, rows;
  for (int i = 0; i < 60; ++i) {
    text += "the big red cat lives in paris . anna saw the good dog of peter . ";
    rows += Json({{"text", "the big red cat lives in paris . anna saw the good dog of peter ."}}).dump() + "\n";
  }
  checkpoint.write("plain/train.txt", text);
  checkpoint.write("plain/validation.txt", text.substr(0, text.size() / 10));
  checkpoint.write("table/train.jsonl", rows);
  for (const char* data : {"plain", "table"}) {
    INFO(data);
    const Json recipe = {{"model", (checkpoint / "net").string()}, {"task", "generate"}, {"data", {{"path", (checkpoint / data).string()}, {"max_length", 20}}},
                         {"epochs", 20}, {"batch_size", 8}, {"optimizer", {{"lr", 1e-2}}}, {"clip_norm", 1.0}, {"seed", 1}};
    checkpoint.write("recipe.json", recipe.dump());
    const auto trained = zoo_program("train " + checkpoint.at("recipe.json") + " --out " + checkpoint.at(std::string("out-") + data));
    INFO(trained.err);
    REQUIRE(trained.code == 0);
    checkpoint.write("test.txt", text.substr(0, 200));
    const auto measured = zoo_program("eval " + checkpoint.at(std::string("out-") + data) + " --task generate --data " + checkpoint.at("test.txt") + " --json");
    INFO(measured.err);
    REQUIRE(measured.code == 0);
    CHECK(measured.json().at("metrics").at("token_accuracy").get<double>() > 0.85);
    CHECK(measured.json().at("metrics").at("loss").get<double>() < 1.0);
    const auto written = zoo_program("run " + checkpoint.at(std::string("out-") + data) + " --task generate --input 'the big red cat' --max-new-tokens 4");
    CHECK(written.out == "lives in paris.\n");
  }
}

TEST_CASE("checkpoints as they are found: BART without final_logits_bias, an untied T5 without its head", "[cli][seq2seq]") {
  const Checkpoint bart("bart");
  const std::string run = bart.run() + bart.at("file.txt") + " --max-new-tokens 64";
  bart.save_weights([](auto& tensors) {
    for (auto& [key, value] : tensors)
      if (key == "final_logits_bias") value = at::zeros_like(value);
  });
  const auto expected = zoo_program(run);
  REQUIRE(expected.code == 0);
  bart.save_weights([](auto& tensors) {
    std::erase_if(tensors, [](const auto& item) { return item.first == "final_logits_bias"; });
    for (auto& [key, value] : tensors) key = key.substr(key.starts_with("model.") ? 6 : 0);  // as facebook/bart-base has them
  });
  const auto found = zoo_program(run);
  INFO(found.err);
  CHECK(found.code == 0);
  CHECK(found.out == expected.out);
  CHECK_FALSE(has(found.err, "missing"));

  const Checkpoint t5("t5");
  t5.change("config.json", {{"tie_word_embeddings", false}});
  const auto outcome = zoo_program(t5.run() + "--input 'the cat'");
  INFO(outcome.err);
  CHECK(outcome.code == 1);
  CHECK(has(outcome.err, "lm_head.weight"));
  CHECK(has(outcome.err, "--allow-missing"));
}

}  // namespace cli_language_model_tests
