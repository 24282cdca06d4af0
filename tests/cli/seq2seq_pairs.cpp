// Texts in pairs through the real program: figures without a network, evaluation with one, and a training.
#include <random>
#include <set>

#include "app/engine/ranks.h"
#include "tests/catch.h"
#include "tests/cli/program.h"
#include "models/registry.h"
#include "weights/safetensors.h"

namespace cli_seq2seq_pairs_tests {
using zoo::Json;
using zoo::test::file_text;
using zoo::test::has;
using zoo::test::quoted;
using zoo::test::Scratch;
using zoo::test::zoo_program;

// A small T5 with starting values and the tokenizer of the generation tests, whose words are known to it.
struct Fresh : Scratch {
  Fresh() {
    const Json reference = Json::parse(file_text(ZOO_TEST_DIR "/fixtures/files/seq2seq.json"));
    Json files = reference.at("networks").at("t5").at("files");
    auto& config = files["config.json"];
    config["d_model"] = 64, config["d_kv"] = 16, config["d_ff"] = 128, config["dropout_rate"] = 0.0;
    for (const auto& [file, content] : files.items()) write("net/" + file, content.dump());
    at::manual_seed(3);
    const auto model = zoo::make_from_config(config);
    model->init_weights();
    zoo::weights::NamedTensors tensors{{"shared.weight", model->named_parameters()["shared.weight"].detach()}};
    for (const auto& item : model->named_parameters())
      if (item.value().data_ptr() != tensors[0].second.data_ptr()) tensors.emplace_back(item.key(), item.value().detach());
    zoo::weights::save_safetensors(path() / "net/model.safetensors", tensors);
  }
  std::string at(const std::string& name) const { return quoted(path() / name); }
};

// Three words, and the same in reverse.
std::pair<std::string, std::string> reversal(std::mt19937& random) {
  static const std::vector<std::string> words{"cat", "dog", "good", "bad", "paris", "anna", "peter", "great"};
  std::string forward, backward;
  for (int i = 0; i < 3; ++i) {
    const auto& word = words[random() % words.size()];
    forward += (i ? " " : "") + word;
    backward = word + (i ? " " : "") + backward;
  }
  return {forward, backward};
}

TEST_CASE("zoo eval --task score: figures of texts beside references", "[cli][seq2seq]") {
  const Scratch scratch;
  scratch.write("a.txt", "the cat sat on the mat\n\nint get ( ) { return 1 ; }\n");
  scratch.write("b.txt", "the cat sat on the mat\n\nint get ( ) { return 2 ; }\n");
  scratch.write("c.txt", "a cat\n\nint get ( ) { return 1 ; }\n");
  const std::string score = "eval --task score --hypotheses " + quoted(scratch / "a.txt") + " --references " + quoted(scratch / "b.txt");
  const auto outcome = zoo_program(score + " --metrics bleu,rouge,codebleu --json");
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  const auto document = outcome.json();
  CHECK(document.at("samples") == 3);
  const auto& figures = document.at("metrics");
  CHECK(figures.at("bleu").get<double>() == Approx(78.66345876727).epsilon(1e-9));  // sacrebleu 2.6
  for (const char* name : {"rouge1", "rouge2", "rougeL", "rougeLsum", "codebleu_ngram", "codebleu_weighted_ngram"}) CHECK(figures.at(name).get<double>() > 0.4);
  CHECK(figures.at("codebleu_left_out") == "syntax, data flow");
  const auto two = zoo_program(score + " --references " + quoted(scratch / "c.txt") + " --metrics exact_match --json");
  CHECK(two.json().at("metrics").at("exact_match").get<double>() == Approx(1.0));
  CHECK(zoo_program(score + " --metrics exact_match --json").json().at("metrics").at("exact_match").get<double>() == Approx(2.0 / 3));
  CHECK(has(zoo_program(score).out, "chrf "));
}

TEST_CASE("zoo eval --task score says what is wrong", "[cli][seq2seq]") {
  const Scratch scratch;
  scratch.write("a.txt", "one\ntwo\n");
  scratch.write("b.txt", "one\n");
  const std::string a = quoted(scratch / "a.txt"), b = quoted(scratch / "b.txt");
  const auto fails = [&](const std::string& arguments, const std::string& message) {
    INFO(arguments);
    const auto outcome = zoo_program("eval " + arguments);
    INFO(outcome.err);
    CHECK(outcome.code == 2);
    CHECK(has(outcome.err, message));
    CHECK(outcome.out.empty());
  };
  fails("--task score --hypotheses " + a + " --references " + b, "a.txt has 2 lines, " + (scratch / "b.txt").string() + " 1;");
  fails("--task score --hypotheses " + a + " --references " + a + " --metrics blue", "unknown metric 'blue'; nearest: bleu");
  fails("--task score --hypotheses " + a + " --references " + a + " --metrics codebleu --option lang=cobol", "expected one of c, c_sharp");
  fails("--task score --hypotheses " + a, "--references FILE");
  fails("--task seq2seq --references " + a, "--hypotheses and --references are for --task score");
  fails("--task seq2seq --data " + a, "model is required");
}

TEST_CASE("zoo eval --task seq2seq reads tables and parallel files alike", "[cli][seq2seq]") {
  const Fresh fresh;
  std::string tsv, headed = "source,target\n", jsonl, source, target;
  std::mt19937 random(5);
  for (int i = 0; i < 5; ++i) {
    const auto [one, two] = reversal(random);
    tsv += one + "\t" + two + "\n";
    headed += one + "," + two + "\n";
    jsonl += Json({{"buggy", one}, {"fixed", two}}).dump() + "\n";
    source += one + "\n", target += two + "\n";
  }
  fresh.write("pairs.tsv", tsv);
  fresh.write("pairs.csv", headed);
  fresh.write("pairs.jsonl", jsonl);
  fresh.write("code/test.x-y.txt.x", source);
  fresh.write("code/test.x-y.txt.y", target);
  fresh.write("repair/test/buggy.txt", source);
  fresh.write("repair/test/fixed.txt", target);
  const std::string eval = "eval " + fresh.at("net") + " --task seq2seq --metrics bleu,chrf,exact_match --max-new-tokens 6 --json --data ";
  const auto first = zoo_program(eval + fresh.at("pairs.tsv"));
  INFO(first.err);
  REQUIRE(first.code == 0);
  const Json figures = first.json().at("metrics");
  for (const char* name : {"bleu", "chrf", "exact_match", "loss", "perplexity", "token_accuracy"}) CHECK(figures.contains(name));
  CHECK(figures.at("samples") == 5);
  CHECK(figures.at("tokens") == 20);
  for (const std::string& other : {fresh.at("pairs.csv"), fresh.at("pairs.jsonl"), fresh.at("code"), fresh.at("code/test.x-y.txt.x"),
                                  fresh.at("repair") + " --columns buggy,fixed"}) {
    INFO(other);
    const auto outcome = zoo_program(eval + other);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK(outcome.json().at("metrics") == figures);
  }
  const auto back = zoo_program(eval + fresh.at("code/test.x-y.txt.y") + " --details");
  REQUIRE(back.code == 0);
  CHECK(back.json().at("details").at("texts")[0].at("target") == source.substr(0, source.find('\n')));
  fresh.write("code/test.x-y.txt.y", target + "more\n");
  CHECK(has(zoo_program(eval + fresh.at("code")).err, "has 5 lines"));
  CHECK(has(zoo_program(eval + fresh.at("repair")).err, "which is the source? --columns buggy,fixed"));
}

TEST_CASE("a small T5 learns to reverse three words", "[cli][seq2seq]") {
  const Fresh fresh;
  std::mt19937 random(11);
  for (const auto& [split, count] : {std::pair<std::string, int>{"train", 1500}, {"test", 64}}) {
    std::string lines;
    for (int i = 0; i < count; ++i) {
      const auto [one, two] = reversal(random);
      lines += one + "\t" + two + "\n";
    }
    fresh.write("data/" + split + ".tsv", lines);
  }
  fresh.write("recipe.json", Json({{"model", (fresh / "net").string()}, {"task", "seq2seq"}, {"data", (fresh / "data").string()}, {"epochs", 14}, {"batch_size", 64},
                                   {"label_smoothing", 0.05}, {"optimizer", {{"lr", 0.003}}}, {"options", {{"metrics", "exact_match,chrf"}, {"max_new_tokens", 8}}}}).dump());
  const auto trained = zoo_program("train " + fresh.at("recipe.json") + " --json --seed 1 --out " + fresh.at("out"));
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  const Json figures = trained.json().at("metrics");
  INFO(figures.dump());
  CHECK(figures.at("exact_match").get<double>() > 0.8);  // guessing gives 0.002
  CHECK(figures.at("token_accuracy").get<double>() > 0.95);
  CHECK(figures.at("chrf").get<double>() > 80);
  CHECK(zoo_program("run " + fresh.at("out") + " --task seq2seq --input 'cat dog good'").out == "good dog cat\n");
}

TEST_CASE("two processes evaluate and write the same texts as one", "[cli][seq2seq][distributed]") {
  NEEDS(zoo::app::distributed_available(), "a build with c10d");
  const Fresh fresh;
  const std::string on_cpu = " --device cpu ";  // two processes would need two GPUs
  std::mt19937 random(12);
  std::string sources;
  for (const auto& [split, count] : {std::pair<std::string, int>{"train", 403}, {"validation", 21}, {"test", 17}}) {  // no whole number of batches
    std::string lines;
    for (int i = 0; i < count; ++i) {
      const auto [one, two] = reversal(random);
      lines += one + "\t" + two + "\n";
      if (split == "test") sources += one + "\n";
    }
    fresh.write("data/" + split + ".tsv", lines);
  }
  fresh.write("sources.txt", sources);
  const auto train = [&](const std::string& out, const std::string& how) {
    const auto outcome = zoo_program("train --model " + fresh.at("net") + " --task seq2seq --data " + fresh.at("data") + " --seed 2 --set validation_split=validation " +
                                     "--set options.metrics=exact_match,chrf,bleu --set options.max_new_tokens=8 --json --out " + fresh.at(out) + on_cpu + how);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    return outcome.json().at("metrics");
  };
  const auto texts = [&](const std::string& out) { return zoo_program("run " + fresh.at(out) + " --task seq2seq --max-new-tokens 8" + on_cpu + fresh.at("sources.txt")).out; };
  const std::vector<const char*> figures{"exact_match", "chrf", "bleu", "samples", "tokens"};

  // What two processes measure of a network that writes different texts is what one measures of it.
  const Json shared = train("learned", "--epochs 6 --lr 0.003 --batch-size 8 --processes 2");
  const auto alone = zoo_program("eval " + fresh.at("learned") + " --task seq2seq --data " + fresh.at("data") + " --metrics exact_match,chrf,bleu --max-new-tokens 8 --json" + on_cpu);
  INFO(alone.err);
  REQUIRE(alone.code == 0);
  for (const char* name : figures) CHECK(shared.at(name) == alone.json().at("metrics").at(name));
  CHECK(shared.at("samples") == 17);
  CHECK(shared.at("loss").get<double>() == Approx(alone.json().at("metrics").at("loss").get<double>()).margin(1e-6));
  std::istringstream lines(texts("learned"));
  std::set<std::string> different;
  for (std::string line; std::getline(lines, line);) different.insert(line);
  CHECK(different.size() > 8);

  // And one and two that learn alike measure and write alike (a step of Adam would make much of the last digits).
  const std::string how = "--epochs 1 --optimizer sgd --lr 0.05 --batch-size ";
  const Json one = train("one", how + "16"), two = train("two", how + "8 --processes 2");
  for (const char* name : figures) CHECK(one.at(name) == two.at(name));
  CHECK(one.at("loss").get<double>() == Approx(two.at("loss").get<double>()).margin(1e-5));
  const std::string written = texts("one");
  CHECK(written.size() > 17);
  CHECK(written == texts("two"));
}

TEST_CASE("pairs that stay in their files teach and measure as those that are held", "[cli][seq2seq][streamed]") {
  const Fresh checkpoint;
  std::mt19937 random(4);
  std::string table = "source\ttarget\n", copies, sources, targets;
  for (int i = 0; i < 40; ++i) {
    const auto [forward, backward] = reversal(random);
    table += forward + "\t" + backward + "\n";
    copies += backward + "\t" + backward + "\n";
    sources += forward + "\n";
    targets += backward + "\n";
  }
  checkpoint.write("t.tsv", table);
  checkpoint.write("p/train.en", sources);
  checkpoint.write("p/train.ne", targets);
  const auto train = [&](const std::string& data, const std::string& out, const std::string& more) {
    const auto outcome = zoo_program("train --model " + checkpoint.at("net") + " --task seq2seq --data " + checkpoint.at(data) + " --epochs 2 --batch-size 8 --seed 1 --json --out " +
                                     checkpoint.at(out) + " " + more);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    return outcome.json().at("metrics");
  };
  const std::string sides = "--set options.columns=en,ne ", left = "--set options.stream_above_mb=0 ";
  const auto figures = train("t.tsv", "held", "");
  CHECK(train("t.tsv", "left", left).dump() == figures.dump());
  CHECK(train("p", "lines", sides + left + "--workers 2 ").at("loss") == figures.at("loss"));
  const std::string weights = file_text(checkpoint.path() / "held/model.safetensors");
  CHECK(file_text(checkpoint.path() / "left/model.safetensors") == weights);
  CHECK(file_text(checkpoint.path() / "lines/model.safetensors") == weights);

  // Targets as their own sources: as if the file had them.
  checkpoint.write("d.tsv", table + copies);
  train("t.tsv", "copied", "--set options.copy_targets=true");
  train("d.tsv", "doubled", "");
  CHECK(file_text(checkpoint.path() / "copied/model.safetensors") == file_text(checkpoint.path() / "doubled/model.safetensors"));
}

}  // namespace cli_seq2seq_pairs_tests
