// Text to text through the real program, on small T5, BART and GPT-2 folders made here; tests/reference/seq2seq_texts.py wrote what
// transformers makes of the same lines.
#include "tests/catch.h"
#include "tests/cli/checkpoint.h"

namespace cli_seq2seq_tests {
using zoo::Json;
using zoo::test::Checkpoint;
using zoo::test::file_text;
using zoo::test::has;
using zoo::test::zoo_program;

TEST_CASE("zoo run --task seq2seq and generate write the reference's texts, line for line", "[cli][seq2seq]") {
  for (const char* name : {"t5", "bart", "gpt2"}) {
    INFO(name);
    const Checkpoint checkpoint(name);
    const auto beams = zoo_program(checkpoint.run() + "--input " + checkpoint.at("file.txt") + " --out " + checkpoint.at("out.txt") +
                                   " --num-beams 4 --max-new-tokens 64");
    INFO(beams.err);
    REQUIRE(beams.code == 0);
    CHECK(file_text(checkpoint / "out.txt") == checkpoint.expected("4"));
    CHECK(has(beams.err, "1 of 10 texts are longer than 32 tokens and were cut"));
    CHECK(zoo_program(checkpoint.run() + checkpoint.at("file.txt") + " --max-new-tokens 64 --batch-size 2 --workers 3 --device cpu").out == checkpoint.expected("1"));
    const std::string one_by_one = checkpoint.run() + "- --max-new-tokens 64 --batch-size 1";
    CHECK(zoo_program(one_by_one, "cat " + checkpoint.at("file.txt") + " |").out == checkpoint.expected("1"));
  }
}

TEST_CASE("zoo run --task seq2seq: the best of several beams as JSON, options over the folder's", "[cli][seq2seq]") {
  const Checkpoint checkpoint("bart");
  const auto outcome = zoo_program(checkpoint.run() + "--input 'good dog !' --num-beams 4 --max-new-tokens 64 --option num_return_sequences=3 --json");
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  const auto document = outcome.json();
  REQUIRE(document.size() == 1);
  const auto& outputs = document[0].at("outputs");
  REQUIRE(outputs.size() == 3);
  CHECK(outputs[0].at("text") == checkpoint.network.at("texts").at("4")[7]);
  CHECK(outputs[0].at("score").get<double>() >= outputs[1].at("score").get<double>());
  CHECK(outputs[1].at("score").get<double>() >= outputs[2].at("score").get<double>());
  CHECK(outputs[0].at("ids") != outputs[1].at("ids"));
  const auto shorter = zoo_program(checkpoint.run() + "--input 'good dog !' --max-new-tokens 5 --json");
  CHECK(shorter.json()[0].at("outputs")[0].at("ids").size() == 5);
  const std::string sample = checkpoint.run() + "--input 'good dog !' --max-new-tokens 9 --option do_sample=true --option temperature=3 --json";
  CHECK(zoo_program(sample).out == zoo_program(sample).out);
}

TEST_CASE("zoo run --task seq2seq survives what is not UTF-8 and keeps empty lines", "[cli][seq2seq]") {
  const Checkpoint checkpoint("t5");
  checkpoint.write("odd.txt", "\n\xff\xfe caf\xc3\n\r\nthe cat");
  const auto outcome = zoo_program(checkpoint.run() + "--input " + checkpoint.at("odd.txt") + " --max-new-tokens 4 --json");
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  const auto document = outcome.json();
  REQUIRE(document.size() == 4);
  CHECK(document[0].at("outputs").empty());
  CHECK(document[1].at("outputs").size() == 1);
  CHECK(document[2].at("outputs").empty());
  CHECK(document[3].at("input") == "the cat");
}

TEST_CASE("zoo run --task seq2seq says what is wrong", "[cli][seq2seq]") {
  const Checkpoint checkpoint("bart");
  checkpoint.write("binary.txt", std::string("a\0b\n", 4));
  checkpoint.write("nothing.txt", "");
  checkpoint.write("taken.txt", "mine\n");
  const std::string input = checkpoint.run() + "--input 'the cat' ";
  const auto fails = [&](const std::string& arguments, int code, const std::string& message) {
    INFO(arguments);
    const auto outcome = zoo_program(arguments);
    CHECK(outcome.code == code);
    INFO(outcome.err);
    CHECK(has(outcome.err, message));
    CHECK(outcome.out.empty());
  };
  fails(input + "--out " + checkpoint.at("taken.txt"), 2, "--overwrite");
  CHECK(file_text(checkpoint / "taken.txt") == "mine\n");
  fails(input + "--option length_penalty=long", 2, "generation option 'length_penalty' is \"long\"; expected a number");
  fails(input + "--option num_return_sequences=2", 2, "greedy decoding gives one result");
  fails(input + "--max-new-tokens 100", 1, "the network has positions for 80");
  fails(checkpoint.run() + "--input " + checkpoint.at("binary.txt"), 1, "binary.txt:1: holds NUL bytes");
  fails(checkpoint.run() + "--input " + checkpoint.at("nothing.txt"), 2, "no texts");
  fails(checkpoint.run() + checkpoint.at("none.txt"), 2, "no such file");
  fails(checkpoint.run() + "--input " + checkpoint.at("none.txt"), 2, "no such file");
  checkpoint.change("generation_config.json", {{"decoder_start_token_id", nullptr}});
  checkpoint.change("config.json", {{"decoder_start_token_id", nullptr}});
  fails(input, 1, "decoder_start_token_id");
  CHECK(zoo_program(input + "--option decoder_start_token_id=2").code == 0);
  checkpoint.change("generation_config.json", {{"num_beams", "many"}});
  fails(input, 1, "generation option 'num_beams' is \"many\"");
}

TEST_CASE("zoo run --task generate: max_length counts the prompt, and what does not fit is refused", "[cli][seq2seq]") {
  const Checkpoint checkpoint("gpt2");
  const auto two = checkpoint.run() + "--input 'the cat lives' --json";  // three tokens
  checkpoint.change("generation_config.json", {{"max_length", 5}, {"eos_token_id", 2}});
  CHECK(zoo_program(two).json()[0].at("outputs")[0].at("ids").size() == 2);
  CHECK(zoo_program(two + " --max-new-tokens 4").json()[0].at("outputs")[0].at("ids").size() == 4);
  const auto fails = [&](const std::string& arguments, int code, const std::string& message) {
    const auto outcome = zoo_program(arguments);
    INFO(arguments << "\n" << outcome.err);
    CHECK(outcome.code == code);
    CHECK(has(outcome.err, message));
  };
  fails(checkpoint.run() + "--input 'the cat lives in paris .'", 1, "max_length is 5, but the prompt has 6 tokens");
  fails(two + " --max-new-tokens 99", 1, "the network has positions for 100");
  fails("run " + checkpoint.at("net") + " --task seq2seq --input a", 1, "it serves generate, embedding");
}

TEST_CASE("a tokenizer of another network is refused by its ids", "[cli][seq2seq]") {
  const Checkpoint checkpoint("t5");
  Json tokenizer = checkpoint.network.at("files").at("tokenizer.json");
  tokenizer["model"]["vocab"]["zebra"] = 500;
  checkpoint.write("net/tokenizer.json", tokenizer.dump());
  const auto outcome = zoo_program(checkpoint.run() + "--input 'a zebra'");
  CHECK(outcome.code == 1);
  INFO(outcome.err);
  CHECK(has(outcome.err, "the tokenizer gives id 500"));
  CHECK(zoo_program(checkpoint.run() + "--input 'a cat'").code == 0);
}

}  // namespace cli_seq2seq_tests
