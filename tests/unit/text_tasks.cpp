// The text tasks against transformers' pipelines, on networks filled by the rule
// (tests/reference/text_tasks.py).
#include <ATen/ATen.h>

#include <cmath>
#include <fstream>
#include <set>

#include "app/bundle.h"
#include "app/cli.h"
#include "app/tasks/task.h"
#include "models/registry.h"
#include "tests/catch.h"
#include "tests/cli/program.h"
#include "weights/fill.h"

namespace text_tasks_tests {
using namespace zoo;
using namespace zoo::app;
namespace fs = std::filesystem;

using zoo::test::Scratch;

const Json& reference() {
  static const Json json =
      Json::parse(std::ifstream(std::string(ZOO_TEST_DIR) + "/fixtures/files/text_tasks.json"));
  return json;
}

// The reference's network, built again by the fill rule.
Bundle filled_bundle(const Scratch& folder, const std::string& task) {
  const Json& described = reference().at(task);
  std::string vocabulary;
  for (const auto& token : reference().at("vocabulary")) vocabulary += token.get<std::string>() + "\n";
  Bundle bundle;
  bundle.spec = "filled";
  bundle.config = described.at("config");
  bundle.task = task;
  bundle.tokenizer = tokenizers::load(folder.write("vocab.txt", vocabulary));
  bundle.model = make_from_config(bundle.config);
  std::set<std::string> keys;
  for (const auto& key : described.at("keys")) keys.insert(key.get<std::string>());
  weights::fill_module(*bundle.model, described.at("seed").get<int64_t>(), keys);
  bundle.model->eval();
  if (bundle.config.contains("id2label"))
    for (const auto& [id, label] : bundle.config.at("id2label").items())
      bundle.labels.push_back(label.get<std::string>());
  return bundle;
}

RunOptions quiet(const Scratch& folder, const Json& cases) {
  std::string csv = "text\n";
  for (const Json& one : cases) csv += '"' + one.at("text").get<std::string>() + "\"\n";
  RunOptions options;
  options.inputs = {folder.write("texts.csv", csv).string()};
  options.json = true;
  return options;
}

constexpr double kTolerance = 1e-5;

TEST_CASE("text classification gives the reference pipeline's probabilities", "[text_tasks]") {
  const Scratch folder;
  auto bundle = filled_bundle(folder, "text_classification");
  const Json& cases = reference().at("text_classification").at("cases");
  const Json predictions = text_classification_task().run(bundle, quiet(folder, cases)).at("predictions");
  REQUIRE(predictions.size() == cases.size());
  for (size_t i = 0; i < cases.size(); ++i) {
    const Json& answer = cases[i].at("answer");
    INFO(cases[i].at("text"));
    CHECK(predictions[i].at("label") == answer[0].at("label"));
    REQUIRE(predictions[i].at("probabilities").size() == answer.size());
    for (const Json& one : answer)
      CHECK(predictions[i].at("probabilities").at(one.at("label").get<std::string>()).get<double>() ==
            Approx(one.at("score").get<double>()).margin(kTolerance));
  }
}

TEST_CASE("token classification groups entities as the reference pipeline", "[text_tasks]") {
  const Scratch folder;
  auto bundle = filled_bundle(folder, "token_classification");
  const Json& cases = reference().at("token_classification").at("cases");
  const Json predictions = token_classification_task().run(bundle, quiet(folder, cases)).at("predictions");
  REQUIRE(predictions.size() == cases.size());
  for (size_t i = 0; i < cases.size(); ++i) {
    const Json &answer = cases[i].at("answer"), &found = predictions[i].at("entities");
    INFO(found.dump());
    REQUIRE(found.size() == answer.size());
    for (size_t k = 0; k < answer.size(); ++k) {
      for (const char* key : {"entity_group", "word", "start", "end"})
        CHECK(found[k].at(key) == answer[k].at(key));
      CHECK(found[k].at("score").get<double>() ==
            Approx(answer[k].at("score").get<double>()).margin(kTolerance));
    }
  }
}

TEST_CASE("fill mask gives the reference pipeline's tokens", "[text_tasks]") {
  const Scratch folder;
  auto bundle = filled_bundle(folder, "fill_mask");
  const Json& cases = reference().at("fill_mask").at("cases");
  auto options = quiet(folder, cases);
  options.options["top_k"] = 4;
  const Json predictions = fill_mask_task().run(bundle, options).at("predictions");
  REQUIRE(predictions.size() == cases.size());
  for (size_t i = 0; i < cases.size(); ++i) {
    const Json& raw = cases[i].at("answer");
    const Json answer = raw[0].is_array() ? raw : Json::array({raw});
    const Json& masks = predictions[i].at("masks");
    REQUIRE(masks.size() == answer.size());
    for (size_t m = 0; m < answer.size(); ++m) {
      REQUIRE(masks[m].size() == answer[m].size());
      for (size_t k = 0; k < answer[m].size(); ++k) {
        for (const char* key : {"token", "token_str", "sequence"})
          CHECK(masks[m][k].at(key) == answer[m][k].at(key));
        CHECK(masks[m][k].at("score").get<double>() ==
              Approx(answer[m][k].at("score").get<double>()).margin(kTolerance));
      }
    }
  }
  options.inputs.clear();
  options.text = "no mask here";
  CHECK_THROWS_AS(fill_mask_task().run(bundle, options), UsageError);
}

TEST_CASE("text examples become padded batches with the network's label ids", "[text_tasks]") {
  const Scratch folder;
  const auto bundle = filled_bundle(folder, "text_classification");
  const auto& task = text_classification_task();
  const auto check = [&](const fs::path& file) {
    const auto data = task.open(file, bundle, {});
    REQUIRE(data->size() == 3);
    CHECK(data->labels() == bundle.labels);
    const std::vector<int64_t> all{0, 1, 2};
    const auto batch = data->get(all, false, 0);
    CHECK(batch.at("labels").equal(at::tensor({2, 0, 1}, at::kLong)));
    CHECK(batch.at("tokens").size(1) == 6);  // [CLS] a great film ! [SEP]
    CHECK(batch.at("mask").sum(1).equal(at::tensor({6, 4, 3}, at::kLong)));
  };
  check(folder.write("names.tsv", "a great film !\tpositive\nbad movie\tnegative\nmovie\tneutral\n"));
  check(folder.write("case.csv", "label,text\nPositive,a great film !\nNegative,bad movie\nNeutral,movie\n"));
  check(folder.write("numbers.tsv", "sentence\tlabel\na great film !\t2\nbad movie\t0\nmovie\t1\n"));
  check(folder.write("lines.jsonl",
                     "{\"text\": \"a great film !\", \"label\": 2}\n{\"text\": \"bad movie\", \"label\": 0}\n"
                     "{\"text\": \"movie\", \"label\": 1}\n"));
  DataOptions named;
  named.options = {{"text_column", "phrase"}, {"label_column", "mood"}};
  const auto other = folder.write("named.csv", "phrase,id,mood\nbad movie,7,negative\n");
  CHECK(task.open(other, bundle, named)->size() == 1);
  named.options = {{"columns", "phrase,mood"}};
  CHECK(task.open(other, bundle, named)->size() == 1);
  std::string rows = "phrase,mood\n";  // unknown names, but "mood" is no label of the twelve rows
  for (int i = 0; i < 6; ++i) rows += "bad movie,negative\na great film !,positive\n";
  CHECK_THROWS_WITH(task.open(folder.write("unknown.csv", rows), bundle, {}),
                    ContainsSubstring("phrase, mood"));
  named.options = {{"columns", "phrase"}};
  CHECK_THROWS_WITH(task.open(other, bundle, named), ContainsSubstring("text,label"));
}

TEST_CASE("pairs of texts carry segment ids", "[text_tasks]") {
  const Scratch folder;
  const auto bundle = filled_bundle(folder, "text_classification");
  const auto file = folder.write("pairs.tsv", "sentence1\tsentence2\tlabel\nthe cat\ta dog\tneutral\n");
  const auto data = text_classification_task().open(file, bundle, {});
  const std::vector<int64_t> first{0};
  const auto batch = data->get(first, true, 0);
  CHECK(batch.at("token_types").equal(at::tensor({0, 0, 0, 0, 1, 1, 1}, at::kLong).unsqueeze(0)));
}

TEST_CASE("run takes pairs of texts from options and tables", "[text_tasks]") {
  const Scratch folder;
  auto bundle = filled_bundle(folder, "text_classification");
  const auto& task = text_classification_task();
  RunOptions options;
  options.json = true;
  options.text = "the cat";
  const double alone = task.run(bundle, options).at("predictions")[0].at("probability");
  options.options = {{"pair", "a dog"}};
  const Json pair = task.run(bundle, options).at("predictions")[0];
  CHECK(pair.at("probability").get<double>() != alone);
  options.text.clear();
  CHECK_THROWS_AS(task.run(bundle, options), UsageError);
  options.options = {{"columns", "left,right"}};
  options.inputs = {folder.write("pairs.csv", "left,right\nthe cat,a dog\n").string()};
  CHECK(task.run(bundle, options).at("predictions")[0].at("probability") == pair.at("probability"));
}

TEST_CASE("training data may define its own classes, evaluation data may not", "[text_tasks]") {
  const Scratch folder;
  const auto bundle = filled_bundle(folder, "text_classification");
  const auto file = folder.write("stars.tsv", "a great film !\t10\nbad movie\t2\nthe film\t2\n");
  DataOptions options;
  options.training = true;
  const auto data = text_classification_task().open(file, bundle, options);
  CHECK(data->labels() == std::vector<std::string>{"2", "10"});
  const std::vector<int64_t> all{0, 1, 2};
  CHECK(data->get(all, true, 0).at("labels").equal(at::tensor({1, 0, 0}, at::kLong)));
  CHECK_THROWS_WITH(text_classification_task().open(file, bundle, {}),
                    ContainsSubstring("unknown label '10'") && ContainsSubstring("--reinit-head") &&
                        ContainsSubstring("line 1"));
}

TEST_CASE("mistakes in labelled text files are named", "[text_tasks]") {
  const Scratch folder;
  const auto bundle = filled_bundle(folder, "text_classification");
  const auto& task = text_classification_task();
  CHECK_THROWS_WITH(task.open(folder.write("a.csv", "text,lable\nbad movie,negative\n"), bundle, {}),
                    ContainsSubstring("no label column") && ContainsSubstring("lable"));
  CHECK_THROWS_WITH(task.open(folder.write("b.tsv", "text\tlabel\n"), bundle, {}),
                    ContainsSubstring("b.tsv"));
  CHECK_THROWS_WITH(task.open(folder.write("c.tsv", ""), bundle, {}), ContainsSubstring("c.tsv"));
  CHECK_THROWS_WITH(task.open(folder.write("d.tsv", "text\tlabel\nbad movie\t\n"), bundle, {}),
                    ContainsSubstring("no label"));
  DataOptions options;
  options.options = {{"label_column", "moods"}};
  CHECK_THROWS_WITH(task.open(folder.write("e.csv", "text,mood\nbad movie,negative\n"), bundle, options),
                    ContainsSubstring("mood"));
  options = {};
  options.split = "validation";
  CHECK_THROWS_WITH(task.open(folder.write("f.tsv", "bad movie\tnegative\n"), bundle, options),
                    ContainsSubstring("validation"));
  fs::create_directories(folder.path() / "set");
  folder.write("set/train.tsv", "bad movie\tnegative\n");
  folder.write("set/dev.tsv", "bad movie\tnegative\na movie\tneutral\n");
  CHECK(task.open(folder.path() / "set", bundle, options)->size() == 2);
  CHECK(task.open(folder.path() / "set", bundle, options)->split() == "validation");
  options.split = "test";
  CHECK_THROWS_WITH(task.open(folder.path() / "set", bundle, options), ContainsSubstring("dev.tsv"));
}

TEST_CASE("a text beyond the limit is cut to it", "[text_tasks]") {
  const Scratch folder;
  const auto bundle = filled_bundle(folder, "text_classification");
  DataOptions options;
  options.options = {{"max_length", 5}};
  const auto data = text_classification_task().open(
      folder.write("a.tsv", "the film was good and bad\tneutral\n"), bundle, options);
  CHECK(data->length(0) == 5);
}

TEST_CASE("the first piece of a word carries its label", "[text_tasks]") {
  const Scratch folder;
  const auto bundle = filled_bundle(folder, "token_classification");
  const auto file = folder.write(
      "a.conll", "-DOCSTART- O\n\nAnna B-PER\nlives O\nin O\nAnnaville B-LOC\n. O\n\nlondon B-LOC\n");
  const auto data = token_classification_task().open(file, bundle, {});
  const std::vector<int64_t> all{0, 1};
  const auto batch = data->get(all, true, 0);
  // [CLS] anna lives in anna ##ville . [SEP]
  CHECK(batch.at("labels")[0].equal(at::tensor({-100, 1, 0, 0, 3, -100, 0, -100}, at::kLong)));
  CHECK(batch.at("labels")[1].equal(at::tensor({-100, 3, -100, -100, -100, -100, -100, -100}, at::kLong)));
}

TEST_CASE("token metrics count words and entities over all batches", "[text_tasks]") {
  const Scratch folder;
  const auto bundle = filled_bundle(folder, "token_classification");  // O B-PER I-PER B-LOC I-LOC
  const auto metrics = token_classification_task().metrics(bundle);
  const auto add = [&](const std::vector<int64_t>& truth, const std::vector<int64_t>& guess) {
    const auto scores = at::one_hot(at::tensor(guess, at::kLong), 5).to(at::kFloat) * 8;
    const std::vector<int64_t> index{0};
    metrics->add({{"logits", scores.unsqueeze(0)}}, {{"labels", at::tensor(truth, at::kLong).unsqueeze(0)}},
                 index);
  };
  add({-100, 1, 2, 0, 3, -100}, {0, 1, 2, 0, 3, 4});
  add({-100, 3, 4, 0}, {3, 3, 0, 0});
  const Json result = metrics->result();
  CHECK(result.at("accuracy").get<double>() == Approx(6.0 / 7));
  CHECK(result.at("precision").get<double>() == Approx(2.0 / 3));
  CHECK(result.at("recall").get<double>() == Approx(2.0 / 3));
  CHECK(result.at("f1").get<double>() == Approx(2.0 / 3));
  CHECK(result.at("tokens") == 7);
}

TEST_CASE("masking follows from seed and index, in the published shares", "[text_tasks]") {
  const Scratch folder;
  const auto bundle = filled_bundle(folder, "fill_mask");
  std::string lines;
  for (int i = 0; i < 2000; ++i)
    lines += "the cat ate the small red house and the blue river in paris was good\n";
  lines += "\n.\n";
  const auto data = fill_mask_task().open(folder.write("a.txt", lines), bundle, {});
  REQUIRE(data->size() == 2001);  // blank lines are none
  std::vector<int64_t> all(2000);
  for (int64_t i = 0; i < 2000; ++i) all[i] = i;
  const auto batch = data->get(all, true, 5), again = data->get(all, true, 5),
             other = data->get(all, true, 6);
  CHECK(batch.at("tokens").equal(again.at("tokens")));
  CHECK_FALSE(batch.at("tokens").equal(other.at("tokens")));
  const std::vector<int64_t> one{77};
  CHECK(data->get(one, true, 5).at("tokens")[0].equal(batch.at("tokens")[77]));
  const at::Tensor labels = batch.at("labels"), hidden = labels.ge(0), tokens = batch.at("tokens");
  const double words = 2000.0 * 15, count = hidden.sum().item<double>();
  CHECK(count / words ==
        Approx(0.15 + std::pow(0.85, 15) / 15).margin(0.01));  // plus the one forced where none was drawn
  const int64_t mask = *bundle.tokenizer->mask_id();
  CHECK(tokens.eq(mask).logical_and(hidden).sum().item<double>() / count == Approx(0.8).margin(0.03));
  const double same = tokens.eq(labels).logical_and(hidden).sum().item<double>() / count;
  CHECK(same == Approx(0.1).margin(0.02));
  CHECK_FALSE(tokens.eq(mask).logical_and(hidden.logical_not()).any().item<bool>());
  const std::vector<int64_t> last{2000};
  CHECK(data->get(last, true, 5).at("labels").ge(0).sum().item<int64_t>() ==
        1);  // a text of one token still has a loss
}

TEST_CASE("fill mask metrics: perplexity is the exponential of the mean over all hidden tokens",
          "[text_tasks]") {
  const Scratch folder;
  const auto bundle = filled_bundle(folder, "fill_mask");
  const auto metrics = fill_mask_task().metrics(bundle);
  const std::vector<int64_t> index{0};
  const auto uniform = at::zeros({1, 3, 4});
  metrics->add({{"logits", uniform}}, {{"labels", at::tensor({-100, 1, 0}, at::kLong).unsqueeze(0)}}, index);
  metrics->add({{"logits", uniform}}, {{"labels", at::tensor({2, -100, -100}, at::kLong).unsqueeze(0)}},
               index);
  CHECK(metrics->result().at("perplexity").get<double>() == Approx(4.0));
  CHECK(metrics->result().at("masked_tokens") == 3);
  CHECK(metrics->result().at("masked_accuracy").get<double>() == Approx(1.0 / 3));
  const Tensors batch{{"labels", at::tensor({-100, 1, 0}, at::kLong).unsqueeze(0)}};
  CHECK(fill_mask_task().loss({{"logits", uniform}}, batch, {}).item<double>() == Approx(std::log(4.0)));
}

}  // namespace text_tasks_tests
