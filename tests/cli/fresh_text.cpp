// Text networks from fresh weights: with a tokenizer's files or a vocabulary made of the training texts, stopped and resumed.
#include "models/model.h"
#include "tests/catch.h"
#include "tests/cli/program.h"

namespace cli_fresh_text_tests {
using zoo::Json;
using zoo::test::file_text;
using zoo::test::has;
using zoo::test::Outcome;
using zoo::test::quoted;
using zoo::test::Scratch;
using zoo::test::start_and_kill;
using zoo::test::zoo_program;
namespace fs = std::filesystem;

// Pairs to learn by heart: no rule leads from one to the other.
void write_pairs(const Scratch& scratch) {
  const std::vector<std::string> words{"anna", "boat", "cherry", "dune", "ember", "finch", "grape", "hill"};
  std::string source, target;
  for (size_t i = 0; i < 16; ++i) {
    source += words[i % 8] + " " + words[(i / 3) % 8] + " and " + words[(i * 5 + 2) % 8] + ".\n";
    target += words[(i * 3 + 1) % 8] + ", then " + words[(i * 7 / 2) % 8] + "!\n";
  }
  for (const char* split : {"train", "test"}) {
    scratch.write(std::string("set/") + split + ".a", source);
    scratch.write(std::string("set/") + split + ".b", target);
  }
}

Json recipe_for(const Scratch& scratch, const char* model, const Json& tokenizer) {
  return {{"model", model}, {"task", "seq2seq"}, {"data", (scratch / "set").string()}, {"tokenizer", tokenizer}, {"validation_split", "test"},
          {"options", {{"columns", "a,b"}, {"max_length", 40}, {"max_target_length", 30}}}, {"eval_options", {{"metrics", "exact_match"}}},
          {"epochs", 60}, {"eval_every", 20}, {"batch_size", 4}, {"group_by_length", true}, {"optimizer", {{"lr", 4e-3}}},
          {"schedule", {{"name", "cosine"}, {"warmup_steps", 10}}}, {"checkpoint", {{"every_steps", 10}}}, {"seed", 1}};
}

TEST_CASE("a fresh T5 learns pairs by heart with a vocabulary made of them; killed, it goes on to the same bytes", "[cli][seq2seq]") {
  const Scratch scratch;
  write_pairs(scratch);
  Json recipe = recipe_for(scratch, "t5:tiny", {{"train", "unigram"}, {"vocab_size", 32}});
  recipe["config"] = {{"d_model", 64}, {"d_kv", 16}, {"dropout_rate", 0.02}};
  const auto file = scratch.write("recipe.json", recipe.dump());
  const Outcome trained = zoo_program("train " + quoted(file) + " --device cpu --json --out " + quoted(scratch / "whole"));
  INFO(trained.err);
  NEEDS(!has(trained.err, "built without SentencePiece"), "a build with SentencePiece's trainer");
  REQUIRE(trained.code == 0);
  CHECK(has(trained.err, "making a vocabulary of 32 tokens"));
  CHECK(trained.json().at("metrics").at("exact_match").get<double>() > 0.9);  // 15 of 16: one hangs on how a processor rounds (on an H100 two, hence --device cpu)
  const Json config = Json::parse(file_text(scratch / "whole/config.json"));
  CHECK((config.at("vocab_size") == 32 && config.at("pad_token_id") == 0 && config.at("eos_token_id") == 1 && config.at("decoder_start_token_id") == 0));

  const Outcome measured = zoo_program("eval " + quoted(scratch / "whole") + " --device cpu --task seq2seq --columns a,b --metrics exact_match --max-new-tokens 30 --json --data " + quoted(scratch / "set"));
  REQUIRE(measured.code == 0);
  CHECK(measured.json().at("metrics").at("exact_match") == trained.json().at("metrics").at("exact_match"));
  CHECK(zoo_program("run " + quoted(scratch / "whole") + " --max-new-tokens 30 --input 'anna anna and cherry.'").out == "boat, then anna!\n");

  CHECK(zoo_program("info " + quoted(scratch / "whole") + " --json").json().at("tokenizer") ==
        Json({{"files", {"spiece.model", "tokenizer_config.json"}}, {"tokens", 32}, {"special", {{"pad", 0}, {"eos", 1}, {"unk", 2}}}}));

  CHECK(start_and_kill("train " + quoted(file) + " --device cpu", scratch / "cut") >= 0);
  REQUIRE_FALSE(fs::exists(scratch / "cut/results.json"));
  const auto vocabulary = fs::last_write_time(scratch / "cut/tokenizer/spiece.model");
  const Outcome resumed = zoo_program("train --resume " + quoted(scratch / "cut") + " --device cpu --json");
  INFO(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK(has(resumed.err, "going on after step"));
  CHECK(fs::last_write_time(scratch / "cut/tokenizer/spiece.model") == vocabulary);
  for (const char* name : {"model.safetensors", "spiece.model", "config.json"}) CHECK(file_text(scratch / "cut" / name) == file_text(scratch / "whole" / name));
}

TEST_CASE("fresh weights take a tokenizer's files: BART with a byte-level BPE, chosen by what it writes", "[cli][seq2seq]") {
  const Scratch scratch;
  write_pairs(scratch);
  Json recipe = recipe_for(scratch, "bart:tiny", {{"train", "bpe"}, {"vocab_size", 300}});
  recipe["epochs"] = 2, recipe["eval_every"] = 1;
  recipe["options"]["metrics"] = "chrf";
  recipe["best"] = {{"metric", "chrf"}};
  const Outcome first = zoo_program("train " + quoted(scratch.write("recipe.json", recipe.dump())) + " --json --out " + quoted(scratch / "one"));
  INFO(first.err);
  REQUIRE(first.code == 0);
  CHECK(first.json().at("best").at("chosen_by") == "validation chrf");
  CHECK(first.json().at("metrics").contains("exact_match"));

  // The same files under other names, as CodeT5's are published.
  fs::create_directories(scratch / "files");
  fs::copy_file(scratch / "one/vocab.json", scratch / "files/own-vocab.json");
  fs::copy_file(scratch / "one/merges.txt", scratch / "files/own-merges.txt");
  const std::string again = "train " + quoted(scratch / "recipe.json") + " --json --out ";
  const Outcome by_name = zoo_program(again + quoted(scratch / "two") + " --tokenizer " + quoted(scratch / "files/own-vocab.json"));
  INFO(by_name.err);
  REQUIRE(by_name.code == 0);
  CHECK(by_name.json().at("metrics").at("loss") == first.json().at("metrics").at("loss"));
  CHECK(Json::parse(file_text(scratch / "two/config.json")).at("vocab_size") == 300);
  CHECK(file_text(scratch / "two/vocab.json") == file_text(scratch / "one/vocab.json"));

  const auto says = [&](const std::string& arguments, const std::string& part) {
    const Outcome outcome = zoo_program(again + quoted(scratch / "none") + " " + arguments);
    INFO(arguments << "\n" << outcome.err);
    CHECK(outcome.code == 2);
    CHECK(has(outcome.err, part));
    CHECK_FALSE(fs::exists(scratch / "none"));
  };
  says("--tokenizer /nowhere", "/nowhere: no such file or folder");
  says("--tokenizer " + quoted(scratch / "set"), "is not a folder with a tokenizer");
  says("--set config.vocab_size=200", "config.vocab_size is 200, but the tokenizer has 300 tokens");
  says("--set tokenizer.vocab_size=100", "vocab_size is 100; expected 261");
  says("--set tokenizer.vocab_size=30000", "tokens only; vocab_size is 30000");
  says("--set tokenizer.vocabsize=300", "unknown key 'tokenizer.vocabsize'; nearest: vocab_size");
  says("--set 'tokenizer={\"vocab\": \"a\"}'", "expected a path, {\"vocab\": FILE, \"merges\": FILE}");
  says("--set model=" + quoted(scratch / "one"), "has a tokenizer of its own");
  says("--set best.metric=blue", "best.metric is 'blue', which the measurements do not have; expected one of");
  CHECK(has(zoo_program(again + quoted(scratch / "none") + " --set tokenizer=").err, "the recipe's key tokenizer"));
}

TEST_CASE("options that a task does not know are refused by eval and train", "[cli]") {
  const Scratch scratch;
  write_pairs(scratch);
  const auto says = [&](const std::string& arguments, const std::string& part) {
    const Outcome outcome = zoo_program(arguments);
    INFO(arguments << "\n" << outcome.err);
    CHECK(outcome.code == 2);
    CHECK(has(outcome.err, part));
  };
  const std::string data = " --data " + quoted(scratch / "set"), out = " --out " + quoted(scratch / "out");
  says("eval t5:tiny --task seq2seq --option max_lenght=8" + data, "unknown option 'max_lenght' of task seq2seq; nearest: max_length");
  says("eval gpt2:tiny --task generate --option strid=8" + data, "unknown option 'strid' of task generate; nearest: stride");
  says("eval bert:tiny --task text_classification --option colums=a" + data, "nearest: columns");
  says("eval bert:tiny --task fill_mask --columns a,b" + data, "unknown option 'columns' of task fill_mask");
  says("eval cct:tiny --task image_classification --option skip=true" + data, "nearest: skip_bad");
  says("eval bert:tiny --task embedding --option x=1" + data, "unknown option 'x' of task embedding, which has none here");
  const std::string train = "train --model t5:tiny --task seq2seq" + data + out;
  says(train + " --set options.metric=bleu", "unknown option 'metric' of task seq2seq; nearest: metrics");
  says(train + " --set eval_options.num_beam=4", "unknown option 'num_beam' of task seq2seq; nearest: num_beams");
  says("train --model cct:tiny --task image_classification --set options.skipbad=true" + data + out, "nearest: skip_bad");
  CHECK_FALSE(fs::exists(scratch / "out"));
}

}  // namespace cli_fresh_text_tests
