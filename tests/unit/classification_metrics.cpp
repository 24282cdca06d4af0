#include "app/tasks/classification_metrics.h"

#include <ATen/ATen.h>

#include "app/tasks/entities.h"
#include "tests/catch.h"

namespace classification_metrics_tests {
using namespace zoo;
using namespace zoo::app;

// Figures of scikit-learn 1.9.1: precision_recall_fscore_support, f1_score(average="macro" and "micro"),
// accuracy_score.
TEST_CASE("confusion matrix figures equal scikit-learn's", "[metrics]") {
  const auto truth = at::tensor({0, 0, 0, 1, 1, 2, 2, 2, 2, 3}, at::kLong),
             guess = at::tensor({0, 1, 0, 1, 2, 2, 2, 0, 2, 2}, at::kLong);
  ConfusionMatrix matrix(5);  // class 4 never occurs
  matrix.add(truth.slice(0, 0, 4), guess.slice(0, 0, 4));
  matrix.add(truth.slice(0, 4), guess.slice(0, 4));
  matrix.add(at::tensor({-100}, at::kLong), at::tensor({1}, at::kLong));
  CHECK(matrix.total() == 10);
  CHECK(matrix.accuracy() == Approx(0.6));
  CHECK(matrix.micro_f1() == Approx(0.6));
  CHECK(matrix.precision(0) == Approx(2.0 / 3));
  CHECK(matrix.recall(2) == Approx(0.75));
  CHECK(matrix.precision(2) == Approx(0.6));
  CHECK(matrix.f1(3) == 0.0);
  CHECK(matrix.macro_f1() == Approx(0.45833333333333326));
  CHECK(matrix.macro_precision() == Approx(0.44166666666666665));
  CHECK(matrix.macro_recall() == Approx(0.47916666666666663));
  CHECK_THROWS_AS(matrix.add(5, 0), std::invalid_argument);
  CHECK_THROWS_AS(matrix.add(0, -1), std::invalid_argument);
}

TEST_CASE("classification metrics do not depend on the batches", "[metrics]") {
  at::manual_seed(3);
  const auto logits = at::randn({17, 4}), labels = at::randint(0, 4, {17}, at::kLong);
  std::vector<int64_t> order(17);
  for (int64_t i = 0; i < 17; ++i) order[i] = i;
  const std::vector<std::string> names{"a", "b", "c", "d"};
  ClassificationMetrics whole(names, 2), parts(names, 2);
  whole.add({{"logits", logits}}, {{"labels", labels}}, order);
  for (int64_t begin : {15, 5, 0}) {
    const int64_t end = begin == 15 ? 17 : begin == 5 ? 15 : 5;
    parts.add({{"logits", logits.slice(0, begin, end)}}, {{"labels", labels.slice(0, begin, end)}},
              std::span(order).subspan(begin, end - begin));
  }
  const auto top2 =
      std::get<1>(logits.topk(2)).eq(labels.unsqueeze(1)).any(1).to(at::kDouble).mean().item<double>();
  CHECK(whole.result().at("top2_accuracy").get<double>() == Approx(top2));
  CHECK(whole.result().at("loss").get<double>() ==
        Approx(at::cross_entropy_loss(logits, labels).item<double>()).epsilon(1e-6));
  for (const char* key : {"accuracy", "macro_f1", "top2_accuracy", "loss", "samples"})
    CHECK(whole.result().at(key).get<double>() ==
          Approx(parts.result().at(key).get<double>()).epsilon(1e-12));
  const Json mistakes = whole.details().at("mistakes");
  REQUIRE(mistakes.size() > 2);
  CHECK(mistakes[0].at("probability").get<double>() >= mistakes[1].at("probability").get<double>());
  for (size_t i = 0; i < mistakes.size(); ++i) {
    CHECK(mistakes[i].at("index") == parts.details().at("mistakes")[i].at("index"));
    CHECK(mistakes[i].at("truth") != mistakes[i].at("prediction"));
  }
}

TEST_CASE("label smoothing mixes with the uniform distribution", "[metrics]") {
  at::manual_seed(4);
  const auto logits = at::randn({5, 3}), labels = at::tensor({0, 2, -100, 1, 1}, at::kLong);
  const auto log_p = at::log_softmax(logits, -1);
  const auto known = labels.ge(0);
  const auto picked = -log_p.gather(1, labels.clamp_min(0).unsqueeze(1)).squeeze(1), spread = -log_p.mean(1);
  const double expected = (0.9 * picked + 0.1 * spread).masked_select(known).mean().item<double>();
  CHECK(classification_loss(logits, labels, {{"label_smoothing", 0.1}}).item<double>() ==
        Approx(expected).epsilon(1e-5));
  CHECK_THROWS_AS(classification_loss(logits, labels, {{"label_smoothing", 1.0}}), std::invalid_argument);
}

// Figures of seqeval 1.2.2 (default mode) for these four sentences.
TEST_CASE("entity figures equal seqeval's", "[metrics]") {
  using Labels = std::vector<std::string>;
  const std::vector<Labels> truth{{"O", "O", "B-MISC", "I-MISC", "I-MISC", "O"},
                                  {"B-PER", "I-PER", "O", "B-LOC"},
                                  {"B-PER", "B-PER", "I-PER", "I-LOC", "O", "I-ORG"},
                                  {"I-ORG", "I-ORG", "B-ORG", "O", "B-LOC", "I-LOC"}};
  const std::vector<Labels> guess{{"O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"},
                                  {"B-PER", "I-PER", "O", "B-LOC"},
                                  {"B-PER", "I-PER", "I-PER", "I-LOC", "O", "B-ORG"},
                                  {"B-ORG", "I-ORG", "B-ORG", "O", "B-LOC", "I-PER"}};
  EntityScores scores;
  for (size_t i = 0; i < truth.size(); ++i) scores.add(truth[i], guess[i]);
  CHECK(scores.total().precision() == Approx(0.6));
  CHECK(scores.total().recall() == Approx(0.6));
  CHECK(scores.total().f1() == Approx(0.6));
  CHECK(scores.macro_f1() == Approx(0.5));
  CHECK(scores.types().at("LOC").f1() == Approx(2.0 / 3));
  CHECK(scores.types().at("MISC").f1() == 0.0);
  CHECK(scores.types().at("ORG").f1() == 1.0);
  CHECK(scores.types().at("PER").precision() == Approx(1.0 / 3));
  CHECK(scores.types().at("PER").truths == 3);
}

TEST_CASE("chunks are seqeval's", "[metrics]") {
  using Labels = std::vector<std::string>;
  using Entities = std::vector<Entity>;
  const auto same = [](const Labels& labels, const Entities& expected) { return entities_of(labels) == expected; };
  CHECK(same({"B-PER", "B-PER", "I-PER", "I-LOC", "O", "I-ORG"},
             {{"PER", 0, 0}, {"PER", 1, 2}, {"LOC", 3, 3}, {"ORG", 5, 5}}));
  CHECK(same({"S-PER", "B-LOC", "I-LOC", "E-LOC", "E-LOC"}, {{"PER", 0, 0}, {"LOC", 1, 3}, {"LOC", 4, 4}}));
  CHECK(same({"O", "O"}, {}));
  CHECK(same({"B-a-b", "I-a-b"}, {{"a-b", 0, 1}}));
  CHECK(are_entity_labels({"O", "B-PER"}));
  CHECK_FALSE(are_entity_labels({"NOUN", "VERB", "O"}));
}

}  // namespace classification_metrics_tests
