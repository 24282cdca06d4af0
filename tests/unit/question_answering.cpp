// Question answering: windows and choice of the answer against transformers' example (tests/reference/question_answering.py),
// SQuAD's files and figures.
#include <ATen/ATen.h>

#include <fstream>
#include <set>

#include "app/cli.h"
#include "app/tasks/squad_data.h"
#include "app/tasks/task.h"
#include "models/registry.h"
#include "tests/catch.h"
#include "tests/cli/program.h"
#include "weights/fill.h"

namespace question_answering_tests {
using namespace zoo;
using namespace zoo::app;
namespace fs = std::filesystem;

using zoo::test::Scratch;

const Json& reference() {
  static const Json json = Json::parse(std::ifstream(std::string(ZOO_TEST_DIR) + "/fixtures/files/question_answering.json"));
  return json;
}

Bundle filled(const Scratch& folder) {
  std::string vocabulary;
  for (const auto& token : reference().at("vocabulary")) vocabulary += token.get<std::string>() + "\n";
  Bundle bundle;
  bundle.spec = "filled";
  bundle.config = reference().at("config");
  bundle.task = "question_answering";
  bundle.tokenizer = tokenizers::load(folder.write("vocab.txt", vocabulary));
  bundle.model = make_from_config(bundle.config);
  std::set<std::string> keys;
  for (const auto& key : reference().at("keys")) keys.insert(key.get<std::string>());
  weights::fill_module(*bundle.model, reference().at("seed").get<int64_t>(), keys);
  at::NoGradGuard no_grad;
  bundle.model->named_parameters()["qa_outputs.weight"].mul_(reference().at("scale").get<double>());
  bundle.model->eval();
  return bundle;
}

// The reference's cases as a SQuAD file, its own answers as the right ones.
Json squad() {
  Json paragraphs = Json::array();
  for (const Json& one : reference().at("cases")) {
    const Json& best = one.at("answers")[0];
    paragraphs.push_back({{"context", one.at("context")},
                          {"qas", {{{"id", std::to_string(paragraphs.size())}, {"question", one.at("question")},
                                    {"answers", {{{"text", best.at("answer")}, {"answer_start", best.at("start")}}}}}}}});
  }
  return {{"version", "1.1"}, {"data", {{{"title", "t"}, {"paragraphs", paragraphs}}}}};
}

TEST_CASE("answers, their places and probabilities are the reference's", "[question_answering]") {
  const Scratch folder;
  auto bundle = filled(folder);
  RunOptions options;
  options.inputs = {folder.write("squad.json", squad().dump()).string()};
  options.options = reference().at("options");
  options.options["top_k"] = 5;
  options.json = true;
  const Json predictions = question_answering_task().run(bundle, options).at("predictions");
  REQUIRE(predictions.size() == reference().at("cases").size());
  for (size_t i = 0; i < predictions.size(); ++i) {
    const Json& wanted = reference().at("cases")[i].at("answers");
    const Json& found = predictions[i].at("answers");
    INFO(found.dump());
    REQUIRE(found.size() == wanted.size());
    for (size_t k = 0; k < wanted.size(); ++k) {
      for (const char* key : {"answer", "start", "end"}) CHECK(found[k].at(key) == wanted[k].at(key));
      CHECK(found[k].at("score").get<double>() == Approx(wanted[k].at("score").get<double>()).margin(1e-5));
    }
  }
}

TEST_CASE("a question and a text from the command line", "[question_answering]") {
  const Scratch folder;
  auto bundle = filled(folder);
  RunOptions options;
  options.text = reference().at("cases")[0].at("question").get<std::string>();
  options.options = reference().at("options");
  options.json = true;
  CHECK_THROWS_WITH(question_answering_task().run(bundle, options), ContainsSubstring("--pair"));
  options.options["pair"] = reference().at("cases")[0].at("context");
  const Json one = question_answering_task().run(bundle, options).at("predictions")[0];
  CHECK(one.at("answer") == reference().at("cases")[0].at("answers")[0].at("answer"));
  options.options["max_length"] = 6;  // no room beside the question
  CHECK_THROWS_WITH(question_answering_task().run(bundle, options), ContainsSubstring("doc_stride"));
}

TEST_CASE("figures over a SQuAD file: its own answers are right, others are not", "[question_answering]") {
  const Scratch folder;
  const auto bundle = filled(folder);
  const auto measure = [&](const Json& document) {
    DataOptions options;
    options.options = reference().at("options");
    const auto data = question_answering_task().open(folder.write("measured.json", document.dump()), bundle, options);
    const auto metrics = question_answering_task().metrics(bundle, *data);
    for (int64_t i = 0; i < data->size(); ++i) {
      const auto batch = data->get(std::vector<int64_t>{i}, false, 0);
      CHECK(batch.at("tokens").size(0) == reference().at("cases")[i].at("windows").get<int64_t>());
      metrics->add(bundle.model->forward(batch), batch, std::vector<int64_t>{i});
    }
    return metrics->result();
  };
  Json document = squad();
  CHECK(measure(document).at("exact_match") == 1.0);
  CHECK(measure(document).at("f1") == 1.0);
  for (auto& paragraph : document["data"][0]["paragraphs"]) paragraph["qas"][0]["answers"] = {{{"text", "zebra"}, {"answer_start", 0}}};
  CHECK(measure(document).at("f1") == 0.0);
  document["data"][0]["paragraphs"][0]["qas"][0]["answers"] = Json::array();  // SQuAD 2.0
  CHECK(measure(document).contains("has_answer_f1"));
}

TEST_CASE("the tokens of the answer are found in the window that holds it", "[question_answering]") {
  const Scratch folder;
  const auto bundle = filled(folder);
  const std::string context = "東京 is a city in über . the cat lives in paris .";
  const Json document = {{"data", {{{"paragraphs", {{{"context", context}, {"qas", {{{"id", 1}, {"question", "city ?"},
                        {"answers", {{{"text", "cat lives"}, {"answer_start", 28}}}}}}}}}}}}}};
  DataOptions options;
  options.options = {{"max_length", 16}, {"doc_stride", 4}};
  const auto data = question_answering_task().open(folder.write("one.json", document.dump()), bundle, options);
  const auto batch = data->get(std::vector<int64_t>{0}, true, 0);
  const auto &tokens = batch.at("tokens"), &starts = batch.at("answer_start"), &ends = batch.at("answer_end");
  REQUIRE(tokens.size(0) >= 2);
  int64_t holding = 0;
  for (int64_t row = 0; row < tokens.size(0); ++row) {
    const int64_t first = starts[row].item<int64_t>(), last = ends[row].item<int64_t>();
    if (first == 0) { CHECK(last == 0); continue; }  // [CLS]: not here
    ++holding;
    const auto ids = tokens[row].slice(0, first, last + 1);
    CHECK(bundle.tokenizer->decode({ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + ids.numel()}) == "cat lives");
  }
  CHECK(holding >= 1);
}

TEST_CASE("files of questions: forms and mistakes", "[question_answering]") {
  const Scratch folder;
  const auto read = [&](const std::string& name, const std::string& text, const Json& options = Json::object(), bool need = true) {
    return read_questions(folder.write(name, text), "", options, 0, need);
  };
  const auto lines = read("a.jsonl", R"({"id":"x","question":"q ?","context":"the cat","answers":{"text":["cat"],"answer_start":[4]}})" "\n");
  CHECK(lines.all[0].answer_begin == 4);
  CHECK(read("b.csv", "question,context,answer\nq ?,the cat,cat\n").all[0].answer_end == 7);
  CHECK(read("c.csv", "q,c,a\nq ?,the cat,cat\n", {{"columns", "q,c,a"}}).all[0].answers == std::vector<std::string>{"cat"});
  CHECK(read("d.csv", "question,context\nq ?,the cat\n", Json::object(), false).all.size() == 1);
  CHECK(read("e.jsonl", R"({"question":"q","context":"the cat","answers":[{"text":"cat","answer_start":99}]})" "\n").all[0].answer_begin == 4);
  CHECK_THROWS_WITH(read("f.csv", "question,context\nq ?,the cat\n"), ContainsSubstring("answers"));
  CHECK_THROWS_WITH(read("g.json", R"({"data": 3})"), ContainsSubstring("paragraphs"));
  CHECK_THROWS_WITH(read("h.json", R"({"data":[{"paragraphs":[{"qas":[]}]}]})"), ContainsSubstring("context"));
  CHECK_THROWS_WITH(read("i.jsonl", R"({"question":"q","context":"c","answers":7})" "\n"), ContainsSubstring("answers"));
  CHECK_THROWS_WITH(read("j.txt", "q"), ContainsSubstring(".json"));
  folder.write("train-v1.1.json", squad().dump());
  folder.write("dev-v1.1.json", squad().dump());
  CHECK(read_questions(folder.path(), "validation", Json::object(), 2, true).all.size() == 2);
  CHECK(read_questions(folder.path(), "train", Json::object(), 0, true).split == "train");
  CHECK_THROWS_WITH(read_questions(folder.path(), "test", Json::object(), 0, true), ContainsSubstring("test"));
}

}  // namespace question_answering_tests
