// zoo run over many lines: nothing that is finished is lost, whenever the program is killed.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "models/registry.h"
#include "tests/catch.h"
#include "tests/cli/checkpoint.h"
#include "weights/fill.h"
#include "weights/safetensors.h"

namespace cli_batch_runs_tests {
using zoo::Json;
using zoo::test::Checkpoint;
using zoo::test::file_text;
using zoo::test::has;
using zoo::test::zoo_program;
namespace fs = std::filesystem;

// `count` lines of one to six of the network's words, the same at each call.
std::string lines(int count) {
  static const std::vector<std::string> words{"the", "cat", "lives", "in", "paris", "good", "dog", "a", "big", "house", "anna", "met", "peter"};
  std::string text;
  uint32_t state = 1;
  const auto random = [&state] { return (state = state * 1664525u + 1013904223u) >> 16; };
  for (int i = 0; i < count; ++i) {
    const uint32_t length = 1 + random() % 6;
    for (uint32_t w = 0; w < length; ++w) text += (w ? " " : "") + words[random() % words.size()];
    text += "\n";
  }
  return text;
}

// Starts `zoo <arguments>` with a file as its standard input.
pid_t start(const std::string& arguments, const fs::path& input, const fs::path& log) {
  const pid_t child = fork();
  if (child != 0) return child;
  const int in = open(input.c_str(), O_RDONLY), out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  dup2(in, 0), dup2(out, 1), dup2(out, 2);
  unsetenv("ZOO_DATA"), unsetenv("ZOO_MODEL");
  execl("/bin/sh", "sh", "-c", ("exec " ZOO_PROGRAM " " + arguments).c_str(), nullptr);
  _exit(127);
}

int64_t recorded(const fs::path& state) {  // inputs of the last milestone
  const std::string text = file_text(state);
  const auto place = text.rfind("{\"inputs\":");
  return place == std::string::npos ? 0 : std::stoll(text.substr(place + 10));
}

// Kills the run that writes `out` after a milestone beyond `after`; false when it ended before, be it between the last look and the signal.
bool kill_after(pid_t child, const fs::path& out, int64_t after, int signal, int& status) {
  const fs::path state = out.string() + ".partial.state";
  for (int i = 0; i < 3000; ++i) {
    if (waitpid(child, &status, WNOHANG) == child) return false;
    if (recorded(state) > after) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  kill(child, signal);
  waitpid(child, &status, 0);
  return !fs::exists(out);
}

TEST_CASE("a killed batch run goes on where it was and ends with the same bytes", "[cli][seq2seq]") {
  for (const char* name : {"t5", "gpt2"}) {
    const Checkpoint checkpoint(name);
    const auto input = checkpoint.write("many.txt", lines(700));
    const std::string run = checkpoint.run() + "- --max-new-tokens 24 --batch-size 4 --option do_sample=true ";
    for (const std::string ending : {name == std::string("t5") ? "txt" : "json", "jsonl"}) {
      INFO(name << " " << ending);
      const auto out = checkpoint / ("out." + ending), partial = checkpoint / ("out." + ending + ".partial"), state = checkpoint / ("out." + ending + ".partial.state");
      REQUIRE(zoo_program(run + "--out " + checkpoint.at("whole." + ending), "cat '" + input.string() + "' |").code == 0);
      const std::string command = run + "--resume --out '" + out.string() + "'", log = (checkpoint / "log").string();
      int status = 0, kills = 0;
      for (; kills < 3; ++kills) {
        if (!kill_after(start(command, input, log), out, recorded(state), kills == 1 ? SIGTERM : SIGKILL, status)) break;
        CHECK(fs::exists(partial));
      }
      if (kills == 0) WARN("going on was not checked: the run was through before it could be killed");
      INFO(file_text(log));
      // One that was through before its signal came has nothing to go on with; killed just after it put its file in place, it leaves the record of what is finished behind.
      const bool killed_at_the_end = fs::exists(out) && WIFSIGNALED(status);
      if (!fs::exists(out)) REQUIRE(zoo_program(command, "cat '" + input.string() + "' |").code == 0);
      CHECK(file_text(out) == file_text(checkpoint / ("whole." + ending)));
      CHECK_FALSE(fs::exists(partial));
      if (!killed_at_the_end) CHECK_FALSE(fs::exists(state));
    }
  }
}

TEST_CASE("an interrupted batch run says what is finished; other input or options do not continue it", "[cli][seq2seq]") {
  const Checkpoint checkpoint("t5");
  checkpoint.write("many.txt", lines(2000));
  const auto state = checkpoint / "out.txt.partial.state", log = checkpoint / "log";
  const std::string run = checkpoint.run() + checkpoint.at("many.txt") + " --batch-size 4 --out " + checkpoint.at("out.txt"), more = " --max-new-tokens 24";
  int status = 0;
  REQUIRE(kill_after(start(run + more, "/dev/null", log), checkpoint / "out.txt", 0, SIGINT, status));
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 1);
  CHECK(has(file_text(log), "the same command with --resume goes on"));
  const std::string finished = file_text(checkpoint / "out.txt.partial");
  CHECK(recorded(state) > 0);
  const auto fails = [&](const std::string& arguments, const std::string& message) {
    const auto outcome = zoo_program(arguments);
    INFO(arguments << "\n" << outcome.err);
    CHECK(outcome.code == 2);
    CHECK(has(outcome.err, message));
    CHECK(file_text(checkpoint / "out.txt.partial") == finished);
  };
  fails(run + more, "--resume goes on with it, --overwrite begins anew");
  fails(run + " --max-new-tokens 23 --resume", "was begun with another options");
  checkpoint.write("many.txt", "another" + lines(2000));
  fails(run + more + " --resume", "are not those that");
  checkpoint.write("many.txt", "short\n");
  fails(run + more + " --resume", "now there are 1");
  checkpoint.write("many.txt", lines(2000));
  checkpoint.change("generation_config.json", {{"no_repeat_ngram_size", 2}});
  fails(run + more + " --resume", "was begun with another checkpoint");
  checkpoint.write("many.txt", lines(20));
  REQUIRE(zoo_program(run + more + " --overwrite").code == 0);
  CHECK_FALSE(fs::exists(checkpoint / "out.txt.partial"));
  const std::string written = file_text(checkpoint / "out.txt");
  CHECK(std::count(written.begin(), written.end(), '\n') == 20);
}

// A BERT of a few words with a head for `task`, and inputs for it.
struct Predictor : zoo::test::Scratch {
  std::string task, inputs;
  explicit Predictor(const std::string& name) : task(name) {
    const Json reference = Json::parse(file_text(ZOO_TEST_DIR "/fixtures/files/text_tasks.json"));
    const Json config = reference.at(name == "token_classification" ? name : "text_classification").at("config");
    Json own = config;
    if (name == "question_answering") own["architectures"] = {"BertForQuestionAnswering"};
    if (name == "similarity") own["architectures"] = {"BertModel"};
    write("net/config.json", own.dump());
    std::string vocabulary;
    for (const auto& token : reference.at("vocabulary")) vocabulary += token.get<std::string>() + "\n";
    write("net/vocab.txt", vocabulary);
    const auto model = zoo::make_from_config(own);
    zoo::weights::fill_module(*model, 1);
    zoo::weights::NamedTensors tensors;
    for (const auto& item : model->named_parameters()) tensors.emplace_back(item.key(), item.value().detach());
    zoo::weights::save_safetensors(path() / "net/model.safetensors", tensors);
  }
  std::string word(const std::string& name) const { return "'" + (path() / name).string() + "'"; }

  // `count` inputs: lines, or rows of a table with two texts.
  void write_inputs(int count) {
    const std::vector<std::string> texts{"a great film !", "bad movie", "the best", "terrible film", "a terrible movie !", "the film"};
    std::string table = task == "question_answering" ? "question,context\n" : "sentence1,sentence2\n", only;
    for (int i = 0; i < count; ++i) {
      const auto &first = texts[i * 7 % 6], &second = texts[i * 5 % 6];
      table += first + "," + second + " " + first + "\n";
      only += first + " " + second + "\n";
    }
    const bool paired = task != "token_classification";
    const auto file = write(paired ? "in.csv" : "in.txt", paired ? table : only);
    inputs = zoo::test::quoted(file) + (task == "text_classification" ? " --columns sentence1,sentence2" : "");
  }
  std::string run(const std::string& more) const { return "run " + word("net") + " --task " + task + " " + inputs + " --log-level error " + more; }
};

TEST_CASE("predictions of any number are written as they come, and a killed run goes on", "[cli][predictions]") {
  const std::string slowly = "--batch-size 1 ";  // what is done so far is recorded five times a second: a run must take longer
  int kills = 0;  // of eight runs: one may be through before it is killed
  for (const char* task : {"text_classification", "token_classification", "question_answering", "similarity"}) {
    Predictor predictor(task);
    predictor.write_inputs(5000);
    for (const std::string ending : {"csv", "json"}) {
      INFO(task << " " << ending);
      const auto out = predictor / ("out." + ending), state = predictor / ("out." + ending + ".partial.state");
      const auto whole = zoo_program(predictor.run(slowly + "--json --out " + predictor.word("whole." + ending)));
      INFO(whole.err);
      REQUIRE(whole.code == 0);
      CHECK(whole.json().at("inputs") == 5000);
      const std::string key = task == std::string("similarity") ? "pairs" : "predictions";
      CHECK(whole.json().at(key).size() == 5000);
      const std::string text = file_text(predictor / ("whole." + ending));
      if (ending == "json") CHECK((nlohmann::json::parse(text).at(key) == whole.json().at(key)));  // in brackets: what a failure would print is long
      else CHECK(std::count(text.begin(), text.end(), '\n') > 100);
      int status = 0;
      const auto log = predictor / "log";
      if (kill_after(start(predictor.run(slowly + "--out " + predictor.word("out." + ending)), "/dev/null", log), out, 0, SIGKILL, status)) {
        ++kills;
        const int64_t finished = recorded(state);
        CHECK(finished > 0);
        const auto resumed = zoo_program(predictor.run(slowly + "--resume --json --out " + predictor.word("out." + ending)));
        INFO(resumed.err);
        REQUIRE(resumed.code == 0);
        CHECK(resumed.json().at("resumed_from") == finished);
        CHECK(resumed.json().at("inputs") == 5000);
        CHECK_FALSE(resumed.json().contains(key));
      }
      CHECK(file_text(out) == text);
    }
  }
  CHECK(kills > 0);
}

TEST_CASE("a document of more results than are held is printed piece by piece, or names its file", "[cli][predictions]") {
  Predictor predictor("text_classification");
  predictor.write_inputs(10050);
  const auto printed = zoo_program(predictor.run("--json")), named = zoo_program(predictor.run("--json --out " + predictor.word("out.jsonl")));
  REQUIRE(printed.code == 0);
  REQUIRE(named.code == 0);
  const nlohmann::json document = printed.json();
  CHECK(document.at("task") == "text_classification");
  REQUIRE(document.at("predictions").size() == 10050);
  CHECK(named.json() == nlohmann::json{{"task", "text_classification"}, {"out", (predictor / "out.jsonl").string()}, {"inputs", 10050}, {"resumed_from", 0}});
  std::istringstream rows(file_text(predictor / "out.jsonl"));
  size_t count = 0;
  for (std::string line; std::getline(rows, line); ++count) {
    if (count % 1000 == 0) CHECK(nlohmann::json::parse(line) == document.at("predictions").at(count));
  }
  CHECK(count == 10050);
}

TEST_CASE("--input may name the file of a long run too", "[cli][predictions]") {
  for (const char* task : {"text_classification", "token_classification", "question_answering", "similarity"}) {
    INFO(task);
    Predictor predictor(task);
    predictor.write_inputs(5);
    const auto named = zoo_program(predictor.run("--json"));
    predictor.inputs = "--input " + predictor.inputs;
    const auto given = zoo_program(predictor.run("--json"));
    INFO(given.err);
    REQUIRE(named.code == 0);
    REQUIRE(given.code == 0);
    CHECK(given.json() == named.json());
  }
}

TEST_CASE("a run that fails before its first result leaves nothing; one that fails later keeps what is finished", "[cli][predictions]") {
  Predictor predictor("text_classification");
  predictor.write_inputs(1);
  const auto out = predictor.word("out.csv");
  predictor.write("in.csv", "sentence1,sentence2\na great film !\n");
  CHECK(zoo_program(predictor.run("--out " + out)).code == 1);
  CHECK_FALSE(fs::exists(predictor / "out.csv.partial"));
  CHECK_FALSE(fs::exists(predictor / "out.csv.partial.state"));
  predictor.write_inputs(5000);
  REQUIRE(zoo_program(predictor.run("--out " + predictor.word("whole.csv"))).code == 0);
  const std::string whole = file_text(predictor / "whole.csv");
  // As on a full disk: the file may have half of the bytes (the shell counts in 512).
  const auto full = zoo_program(predictor.run("--out " + out), "ulimit -f " + std::to_string(whole.size() / 1024) + ";");
  INFO(full.err);
  CHECK(full.code == 1);
  CHECK(has(full.err, "out.csv.partial: cannot be written"));
  CHECK_FALSE(fs::exists(predictor / "out.csv"));
  CHECK(recorded(predictor / "out.csv.partial.state") == 2048);
  const auto resumed = zoo_program(predictor.run("--resume --json --out " + out));
  INFO(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK(resumed.json().at("resumed_from") == 2048);
  CHECK(file_text(predictor / "out.csv") == whole);
  CHECK(zoo_program(predictor.run("--resume")).code == 2);
  CHECK(has(zoo_program("run bert:tiny --task fill_mask --input a --resume").err, "--resume is for the tasks"));
}

TEST_CASE("bad lines of a batch run are named and do not stop it", "[cli][seq2seq]") {
  const Checkpoint checkpoint("gpt2");
  std::string text;
  for (int i = 0; i < 20; ++i) text += "the cat\n";
  checkpoint.write("bad.txt", text + "caf\xc3\nzero" + std::string(1, '\0') + "byte\n" + [] {
    std::string words;
    for (int i = 0; i < 40; ++i) words += "cat ";
    return words;
  }() + "\nthe cat\n");
  // 100 positions: a prompt of 32 tokens, the tokenizer's limit, leaves no room for 90 more
  const auto outcome = zoo_program(checkpoint.run() + checkpoint.at("bad.txt") + " --max-new-tokens 90 --out " + checkpoint.at("out.jsonl"));
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  CHECK(has(outcome.err, "bad.txt:21: not UTF-8"));
  CHECK(has(outcome.err, "bad.txt:22: holds NUL bytes"));
  CHECK(has(outcome.err, "bad.txt:23: longer than 32 tokens"));
  CHECK(has(outcome.err, "bad.txt:23: nothing is written for it: max_new_tokens is 90 after a prompt of 32 tokens"));
  std::istringstream out(file_text(checkpoint / "out.jsonl"));
  std::vector<Json> rows;
  for (std::string line; std::getline(out, line);) rows.push_back(Json::parse(line));
  REQUIRE(rows.size() == 24);
  CHECK(rows[22].at("outputs").empty());
  CHECK(rows[23].at("outputs") == rows[0].at("outputs"));
  checkpoint.write("rows.jsonl", "{\"text\": \"the cat\"}\n[1]\n{\"other\": 1}\n{\"text\": \"the cat\"}\n");
  const auto table = zoo_program(checkpoint.run() + checkpoint.at("rows.jsonl") + " --max-new-tokens 4 --json");
  INFO(table.err);
  REQUIRE(table.code == 0);
  CHECK(has(table.err, "rows.jsonl:2: not a JSON object"));
  CHECK(has(table.err, "rows.jsonl:3: no key 'text'"));
  CHECK(table.json().at(0).at("outputs") == table.json().at(3).at("outputs"));
  CHECK(table.json().at(1).at("outputs").empty());
}

TEST_CASE("a table and a folder give the same texts as lines", "[cli][seq2seq]") {
  const Checkpoint checkpoint("t5");
  checkpoint.write("rows.csv", "id,text\n1,the cat\n2,\"good, dog\"\n");
  checkpoint.write("folder/a.txt", "the cat\n");
  checkpoint.write("folder/b.txt", "good, dog\n");
  const std::string table = zoo_program(checkpoint.run() + checkpoint.at("rows.csv") + " --column text").out;
  CHECK(table.size() > 4);
  CHECK(table == zoo_program(checkpoint.run() + checkpoint.at("folder")).out);
  CHECK(table == zoo_program(checkpoint.run() + "-", "printf 'the cat\\ngood, dog\\n' |").out);
}

TEST_CASE("stop strings, prefixes and lists of allowed outputs from the command line", "[cli][seq2seq]") {
  const Checkpoint checkpoint("t5");
  const std::string input = checkpoint.run() + "--input 'the cat lives in paris .' --max-new-tokens 20 ";
  const std::string whole = zoo_program(input).out;
  const std::string stop = whole.substr(4, 3);
  const auto stopped = zoo_program(input + "--option 'stop_strings=[\"" + stop + "\"]'");
  INFO(stopped.err << whole);
  REQUIRE(stopped.code == 0);
  CHECK(whole.starts_with(stopped.out.substr(0, stopped.out.size() - 1)));
  CHECK(stopped.out.size() < whole.size());
  CHECK(has(stopped.out, stop));
  CHECK(zoo_program(input + "--option prefix='good dog'").out.starts_with("good dog"));
  checkpoint.write("allowed.txt", "good dog\nbad cat\nthe river walk\n");
  const auto chosen = zoo_program(input + "--num-beams 3 --option num_return_sequences=3 --json --option allowed=" + checkpoint.at("allowed.txt"));
  INFO(chosen.err);
  REQUIRE(chosen.code == 0);
  std::set<std::string> texts;
  const auto document = chosen.json();
  for (const auto& one : document.at(0).at("outputs")) texts.insert(one.at("text").get<std::string>());
  CHECK(texts == std::set<std::string>{"good dog", "bad cat", "the river walk"});
  const auto fails = [&](const std::string& arguments, const std::string& message) {
    const auto outcome = zoo_program(arguments);
    INFO(arguments << "\n" << outcome.err);
    CHECK(outcome.code == 2);
    CHECK(has(outcome.err, message));
  };
  fails(input + "--option num_beems=3", "nearest: num_beams");
  fails(input + "--option prefix=a --option allowed=" + checkpoint.at("allowed.txt"), "do not go together");
  fails(input + "--resume", "give its --out");
  fails(input + "--format npy --out " + checkpoint.at("x"), "text, json or jsonl");
  const Checkpoint decoder("gpt2");
  fails(decoder.run() + "--input 'the cat' --option prefix=a", "networks with an encoder");
}

TEST_CASE("--stream prints the same text, and a folder's options that are not followed are named", "[cli][seq2seq]") {
  for (const char* name : {"t5", "gpt2"}) {
    const Checkpoint checkpoint(name);
    const std::string input = checkpoint.run() + "--input 'the cat lives' --max-new-tokens 20";
    const auto streamed = zoo_program(input + " --stream");
    INFO(streamed.err);
    CHECK(streamed.code == 0);
    CHECK(streamed.out == zoo_program(input).out);
    CHECK(has(zoo_program(input + " --stream --num-beams 2").err, "--stream prints the one text"));
    checkpoint.change("generation_config.json", {{"guidance_scale", 2.0}, {"use_cache", true}});
    CHECK(has(zoo_program(input).err, "guidance_scale would change the texts in transformers"));
  }
}

}  // namespace cli_batch_runs_tests
