// Training and evaluation through the task interface, on pictures made here.
#include <fstream>
#include <random>

#include "app/cli.h"
#include "app/engine/evaluator.h"
#include "app/engine/trainer.h"
#include "app/tasks/image_data.h"
#include "data/image.h"
#include "tests/catch.h"
#include "tests/cli/program.h"

namespace training_tests {
using namespace zoo::app;
using zoo::Json;
using zoo::test::has;
using zoo::test::Scratch;
namespace fs = std::filesystem;

// Grey pictures of noise, brighter in the left, right or middle third: easy, but not for a network that knows nothing.
at::Tensor striped(int64_t kind, uint64_t seed, int64_t side) {
  std::mt19937 random(static_cast<unsigned>(seed));
  const at::Tensor picture = at::empty({side, side, 1}, at::kByte);
  auto* out = picture.data_ptr<uint8_t>();
  for (int64_t y = 0; y < side; ++y) {
    for (int64_t x = 0; x < side; ++x) *out++ = static_cast<uint8_t>(random() % 90 + (x * 3 / side == kind ? 150 : 0));
  }
  return picture;
}

// DIR/{train,test}/<class>/NN.png
void write_pictures(const fs::path& folder, const std::vector<std::string>& classes, int64_t per_class, int64_t side = 16) {
  uint64_t seed = 0;
  for (const std::string split : {"train", "test"}) {
    for (size_t kind = 0; kind < classes.size(); ++kind) {
      fs::create_directories(folder / split / classes[kind]);
      for (int64_t i = 0; i < per_class; ++i) {
        std::ofstream(folder / split / classes[kind] / (std::to_string(i) + ".png"), std::ios::binary)
            << zoo::data::encode_png(striped(static_cast<int64_t>(kind), ++seed, side));
      }
    }
  }
}

const std::vector<std::string> kClasses = {"left", "middle", "right"};

Recipe tiny_recipe(const fs::path& data, const std::string& model) {
  Json json = {{"model", model}, {"task", "image_classification"}, {"data", data.string()}, {"epochs", 5}, {"batch_size", 12},
               {"optimizer", {{"lr", model.starts_with("cct") ? 1e-2 : 3e-3}}}, {"schedule", {{"warmup_share", 0.1}}}, {"augment", {{"pad_crop", 1}}}, {"seed", 3}};
  if (model.starts_with("cct")) json["config"] = {{"n_input_channels", 1}};
  return read_recipe(json);
}

Json log_lines(const fs::path& folder) {
  Json lines = Json::array();
  std::ifstream file(folder / "log.jsonl");
  for (std::string line; std::getline(file, line);) lines.push_back(Json::parse(line));
  return lines;
}

TEST_CASE("forty steps learn an easy task, and what is written is what was measured", "[engine][training]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_pictures(scratch / "set", kClasses, 20);
  for (const std::string model : {"cct:tiny", "vit:tiny"}) {
    INFO(model);
    const auto out = scratch / model.substr(0, 3);
    Recipe recipe = tiny_recipe(scratch / "set", model);
    recipe.epochs = 8;  // enough that it does not hang on the numbers that dropout draws
    const auto result = train(recipe, out, at::kCPU, RunFolder::Start::fresh);
    CHECK(result.json.at("steps") == 40);
    CHECK(result.json.at("evaluated_on") == "test");
    CHECK(result.json.at("best").at("chosen_by") == "last epoch");
    const Json log = log_lines(out);
    CHECK(log.at(0).at("step") == 1);
    CHECK(log.at(log.size() - 2).at("train_loss").get<double>() < 0.7 * log.at(0).at("loss").get<double>());
    CHECK(result.json.at("metrics").at("accuracy").get<double>() > 0.8);

    Bundle bundle = load_bundle(out.string(), at::kCPU);
    CHECK(bundle.labels == kClasses);
    CHECK(bundle.preprocessor.at("image_mean").size() == (model.starts_with("cct") ? 1u : 3u));
    const Task& task = find_task("image_classification");
    const auto again = evaluate(task, bundle, *task.open(scratch / "set", bundle, {}), {7, 2, "", {}});
    CHECK(again.metrics.at("accuracy") == result.json.at("metrics").at("accuracy"));
    CHECK(again.metrics.at("loss").get<double>() == Approx(result.json.at("metrics").at("loss").get<double>()).epsilon(1e-4));
    for (const auto* file : {"config.json", "model.safetensors", "preprocessor_config.json", "recipe.json", "report.html"}) CHECK(fs::exists(out / file));
    CHECK(read_recipe(load_recipe_file(out / "recipe.json")).seed == 3);
  }
  CHECK(std::distance(fs::directory_iterator(scratch.path()), {}) == 3);  // no working folders stay behind
}

TEST_CASE("a training repeats exactly, whatever the number of loader threads", "[engine][training]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_pictures(scratch / "set", kClasses, 6);
  std::vector<Json> losses;
  for (const int64_t workers : {0, 1, 3}) {
    Recipe recipe = tiny_recipe(scratch / "set", "cct:tiny");
    recipe.workers = workers;
    recipe.epochs = 2;
    recipe.validation_share = 0.2;
    const auto out = scratch / ("out" + std::to_string(workers));
    train(recipe, out, at::kCPU, RunFolder::Start::fresh);
    Json line = log_lines(out).back();
    losses.push_back(line.at("final").at("loss"));
  }
  CHECK(losses[0] == losses[1]);
  CHECK(losses[0] == losses[2]);
}

TEST_CASE("validation examples are kept apart and choose the checkpoint", "[engine][training]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_pictures(scratch / "set", kClasses, 10);
  Recipe recipe = tiny_recipe(scratch / "set", "cct:tiny");
  recipe.validation_share = 0.2;
  recipe.epochs = 4;
  const auto result = train(recipe, scratch / "out", at::kCPU, RunFolder::Start::fresh);
  double best = -1;
  int64_t best_epoch = 0;
  for (const auto& line : log_lines(scratch / "out")) {
    if (!line.contains("train_loss")) continue;
    CHECK(line.at("validation").at("samples") == 6);
    const double accuracy = line.at("validation").at("accuracy").get<double>();
    if (accuracy > best) best = accuracy, best_epoch = line.at("epoch").get<int64_t>();
  }
  CHECK(result.json.at("steps") == 8);  // 24 of 30 examples, 12 a step
  CHECK(result.json.at("best").at("epoch") == best_epoch);
  CHECK(result.json.at("best").at("validation") == best);
}

TEST_CASE("a checkpoint learns other classes only when its head may go", "[engine][training]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_pictures(scratch / "three", kClasses, 4);
  write_pictures(scratch / "two", {"here", "there"}, 4);
  Recipe recipe = tiny_recipe(scratch / "three", "cct:tiny");
  recipe.epochs = 1;
  train(recipe, scratch / "first", at::kCPU, RunFolder::Start::fresh);
  recipe.model = (scratch / "first").string();
  recipe.data = (scratch / "two").string();
  CHECK_THROWS_AS(train(recipe, scratch / "second", at::kCPU, RunFolder::Start::fresh), UsageError);
  CHECK_FALSE(fs::exists(scratch / "second"));
  recipe.reinit_head = true;
  train(recipe, scratch / "second", at::kCPU, RunFolder::Start::fresh);
  CHECK(load_bundle((scratch / "second").string(), at::kCPU).labels == std::vector<std::string>{"here", "there"});
}

TEST_CASE("a loss that is no number stops the training and leaves nothing", "[engine][training]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_pictures(scratch / "set", kClasses, 8);
  Recipe recipe = tiny_recipe(scratch / "set", "cct:tiny");
  recipe.optimizer.lr = 1e30;
  CHECK_THROWS_WITH(train(recipe, scratch / "out", at::kCPU, RunFolder::Start::fresh),
                    ContainsSubstring("training stopped at step") && ContainsSubstring("first tensor that is not finite"));
  CHECK(std::distance(fs::directory_iterator(scratch.path()), {}) == 1);
}

TEST_CASE("accumulated batches make the step of the one large batch", "[engine][training]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_pictures(scratch / "set", kClasses, 10);  // 30 examples: the last batches are uneven
  std::vector<at::Tensor> weights;
  for (const int64_t accumulate : {1, 4}) {
    Recipe recipe = tiny_recipe(scratch / "set", "vit:tiny");
    recipe.batch_size = 16 / accumulate;
    recipe.accumulate = accumulate;
    recipe.optimizer.name = "sgd";
    recipe.epochs = 10;
    const auto out = scratch / ("out" + std::to_string(accumulate));
    CHECK(train(recipe, out, at::kCPU, RunFolder::Start::fresh).json.at("steps") == 20);
    std::vector<at::Tensor> flat;
    for (const auto& parameter : load_bundle(out.string(), at::kCPU).model->parameters()) flat.push_back(parameter.flatten());
    weights.push_back(at::cat(flat));
  }
  CHECK((weights[0] - weights[1]).abs().max().item<double>() < 1e-6);
}

TEST_CASE("a training stops early when validation gets no better", "[engine][training]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_pictures(scratch / "set", kClasses, 10);
  Recipe recipe = tiny_recipe(scratch / "set", "cct:tiny");
  recipe.validation_share = 0.2;
  recipe.epochs = 50;
  recipe.optimizer.lr = 0.0;
  recipe.early_stopping.patience = 2;
  const auto result = train(recipe, scratch / "out", at::kCPU, RunFolder::Start::fresh);
  CHECK(result.json.at("epochs") == 3);
  CHECK(result.json.at("best").at("epoch") == 1);
  CHECK_FALSE(fs::exists(scratch / "out/checkpoints"));
}

TEST_CASE("a resumed run must be the run that was begun", "[engine][training]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_pictures(scratch / "set", kClasses, 4);
  Recipe recipe = tiny_recipe(scratch / "set", "cct:tiny");
  recipe.epochs = 1;
  train(recipe, scratch / "out", at::kCPU, RunFolder::Start::fresh);
  recipe.workers = 3;  // changes nothing of the result
  CHECK(train(recipe, scratch / "out", at::kCPU, RunFolder::Start::resume).json.at("steps") == 1);
  recipe.epochs = 2;
  recipe.optimizer.lr = 0.5;
  CHECK_THROWS_WITH(train(recipe, scratch / "out", at::kCPU, RunFolder::Start::resume),
                    ContainsSubstring("epochs: 1 -> 2") && ContainsSubstring("optimizer.lr: 0.01 -> 0.5"));
}

Bundle three_classes(const std::vector<std::string>& labels) {
  BundleOptions options;
  options.labels = labels;
  options.classes = static_cast<int64_t>(labels.size());
  options.config_overrides = {{"n_input_channels", 1}};
  return load_bundle("cct:tiny", at::kCPU, options);
}

TEST_CASE("class names of the data are matched with the network's", "[engine][images]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_pictures(scratch / "set", kClasses, 1);
  const Task& task = find_task("image_classification");
  const std::vector<int64_t> all = {0, 1, 2};
  const auto labels = [&](const Bundle& bundle) { return task.open(scratch / "set", bundle, {})->get(all, false, 0).at("labels"); };
  CHECK(labels(three_classes(kClasses)).equal(at::tensor({0, 1, 2}, at::kLong)));
  CHECK(labels(three_classes({"right", "left", "middle"})).equal(at::tensor({1, 2, 0}, at::kLong)));
  const Bundle other = three_classes({"left", "middle", "rihgt"});
  CHECK_THROWS_WITH(task.open(scratch / "set", other, {}), ContainsSubstring("class 'right'") && ContainsSubstring("rihgt"));
}

TEST_CASE("picture data: splits, limits, bad files", "[engine][images]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_pictures(scratch / "set", kClasses, 2);
  const Task& task = find_task("image_classification");
  const Bundle bundle = three_classes(kClasses);
  DataOptions options;
  CHECK(task.open(scratch / "set", bundle, options)->split() == "test");
  options.split = "train";
  options.limit = 4;
  CHECK(task.open(scratch / "set", bundle, options)->size() == 4);
  options.split = "tset";
  CHECK_THROWS_WITH(task.open(scratch / "set", bundle, options), ContainsSubstring("it has train, test"));

  scratch.write("set/test/left/bad.png", "this is a text");
  const auto data = task.open(scratch / "set", bundle, {});
  const std::vector<int64_t> all = {0, 1, 2, 3, 4, 5, 6};
  CHECK_THROWS_WITH(data->get(all, false, 0), ContainsSubstring("bad.png"));
  options = {};
  options.options["skip_bad"] = true;
  CHECK(task.open(scratch / "set", bundle, options)->size() == 6);
}

}  // namespace training_tests
