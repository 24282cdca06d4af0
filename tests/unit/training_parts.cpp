// Recipe, schedule and optimizers, against values worked out by hand or by PyTorch.
#include "app/cli.h"
#include "app/engine/clipping.h"
#include "app/engine/optimizer.h"
#include "app/engine/run_folder.h"
#include "app/engine/recipe.h"
#include "app/engine/schedule.h"
#include "app/report/html.h"
#include "app/report/svg.h"
#include "tests/catch.h"
#include "tests/cli/program.h"

namespace training_parts_tests {
using namespace zoo::app;
using zoo::Json;
using zoo::test::has;
using zoo::test::Scratch;

std::string usage_error(const std::function<void()>& action) {
  try {
    action();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("schedules rise, hold and fall", "[engine]") {
  const Schedule cosine{"cosine", 0, 0.1, 0.1};  // 10 of 100 steps rise
  CHECK(cosine.at(0, 100, 1.0) == Approx(0.1));
  CHECK(cosine.at(9, 100, 1.0) == Approx(1.0));
  CHECK(cosine.at(10, 100, 1.0) == Approx(1.0));
  CHECK(cosine.at(55, 100, 1.0) == Approx(0.55));  // halfway between peak and end
  CHECK(cosine.at(100, 100, 1.0) == Approx(0.1));
  const Schedule linear{"linear", 4, 0.0, 0.0};
  CHECK(linear.at(1, 24, 2.0) == Approx(1.0));
  CHECK(linear.at(14, 24, 2.0) == Approx(1.0));
  CHECK(linear.at(24, 24, 2.0) == Approx(0.0));
  const Schedule constant{"constant", 0, 0.0, 0.0};
  CHECK(constant.at(0, 10, 0.3) == Approx(0.3));
  CHECK(constant.at(9, 10, 0.3) == Approx(0.3));
}

struct Toy : torch::nn::Module {
  at::Tensor weight, bias;
  Toy() {
    weight = register_parameter("weight", at::tensor({0.5f, -1.25f, 2.0f, 0.125f}).view({2, 2}));
    bias = register_parameter("bias", at::tensor({0.3f, -0.7f}));
  }
  void gradients(double scale) {
    weight.mutable_grad() = at::tensor({0.1f, -0.2f, 0.3f, 0.05f}).view({2, 2}) * scale;
    bias.mutable_grad() = at::tensor({-1.0f, 0.02f}) * scale;
  }
};

void check_values(const at::Tensor& tensor, const std::vector<double>& expected) {
  const at::Tensor flat = tensor.detach().flatten();
  REQUIRE(flat.numel() == static_cast<int64_t>(expected.size()));
  for (size_t i = 0; i < expected.size(); ++i) CHECK(flat[static_cast<int64_t>(i)].item<double>() == Approx(expected[i]).margin(1e-7));
}

// torch 2.13: optim.AdamW([{weight, weight_decay 0.1}, {bias, weight_decay 0}], lr=0.01, betas=(0.9, 0.99), eps=1e-6)
TEST_CASE("AdamW takes PyTorch's steps and spares biases the decay", "[engine]") {
  Toy toy;
  const auto optimizer = make_optimizer({"adamw", 0.01, 0.1, 0.9, 0.99, 1e-6, 0.0}, toy);
  toy.gradients(1.0);
  optimizer->step(0.01);
  check_values(toy.weight, {0.48950011, -1.23874998, 1.98800004, 0.11487520});
  check_values(toy.bias, {0.31000000, -0.70999950});
  toy.gradients(-0.5);
  optimizer->step(0.01);
  check_values(toy.weight, {0.48634365, -1.23484433, 1.98334515, 0.11209340});
  check_values(toy.bias, {0.31266698, -0.71266633});
}

// torch 2.13: optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=0.1)
TEST_CASE("SGD takes PyTorch's steps", "[engine]") {
  Toy toy;
  const auto optimizer = make_optimizer({"sgd", 0.1, 0.1, 0, 0, 0, 0.9}, toy);
  toy.gradients(1.0);
  optimizer->step(0.1);
  check_values(toy.weight, {0.48499998, -1.21749997, 1.95000005, 0.11875000});
  toy.gradients(-0.5);
  optimizer->step(0.1);
  check_values(toy.weight, {0.47164997, -1.18607497, 1.90050006, 0.11443750});
}

TEST_CASE("clipping scales all gradients by their common norm", "[engine]") {
  Toy toy;
  const auto optimizer = make_optimizer({}, toy);
  toy.weight.mutable_grad() = at::tensor({3.0f, 0.0f, 0.0f, 0.0f}).view({2, 2});
  toy.bias.mutable_grad() = at::tensor({0.0f, 4.0f});
  CHECK(clip_gradients(optimizer->parameters(), {}) == Approx(5.0));
  CHECK(toy.bias.grad()[1].item<double>() == Approx(4.0));
  ClipOptions limit;
  limit.norm = 1.0;
  CHECK(clip_gradients(optimizer->parameters(), limit) == Approx(5.0));
  CHECK(toy.weight.grad()[0][0].item<double>() == Approx(0.6));
  CHECK(toy.bias.grad()[1].item<double>() == Approx(0.8));
  optimizer->zero_grad();
  CHECK_FALSE(toy.weight.grad().defined());
  const at::Tensor before = toy.weight.detach().clone();
  optimizer->step(1.0);  // no gradients: nothing moves
  CHECK(at::equal(before, toy.weight));
}

const Json kLeast = {{"model", "cct:tiny"}, {"task", "image_classification"}, {"data", "pictures"}};

TEST_CASE("a recipe is complete once read, and reads back the same", "[engine][recipe]") {
  Json json = kLeast;
  set_in_recipe(json, "optimizer.lr=2e-3");
  set_in_recipe(json, "schedule.name=linear");
  set_in_recipe(json, "augment={\"flip\": true}");
  const Recipe recipe = read_recipe(json);
  CHECK(recipe.optimizer.lr == Approx(2e-3));
  CHECK(recipe.schedule.name == "linear");
  CHECK(recipe.augment.at("flip") == true);
  const Json full = write_recipe(recipe);
  CHECK(full.at("batch_size") == 64);
  CHECK(write_recipe(read_recipe(full)) == full);
}

TEST_CASE("mistakes in a recipe are named with the nearest key", "[engine][recipe]") {
  const auto with = [](const std::string& assignment) {
    Json json = kLeast;
    set_in_recipe(json, assignment);
    return usage_error([&] { read_recipe(json); });
  };
  CHECK(has(with("epoch=3"), "unknown key 'epoch'; nearest: epochs"));
  CHECK(has(with("optimizer.learning_rate=3"), "unknown key 'optimizer.learning_rate'"));
  CHECK(has(with("epochs=0"), "'epochs' is 0; expected a whole number from 1"));
  CHECK(has(with("epochs=2.5"), "'epochs' is 2.5"));
  CHECK(has(with("label_smoothing=1"), "from 0.0 to below 1.0"));
  CHECK(has(with("optimizer.name=adem"), "one of adamw, adam, sgd"));
  CHECK(has(with("optimizer.betas=[0.9]"), "two numbers"));
  CHECK(has(with("seed=-1"), "'seed' is -1"));
  CHECK(has(with("config=3"), "expected an object"));
  CHECK(has(usage_error([] { read_recipe({{"model", "bert"}}); }), "'task' is missing"));
  CHECK(has(usage_error([] { read_recipe(Json::array()); }), "not a JSON object"));
  Json both = kLeast;
  both["validation_share"] = 0.1, both["validation_split"] = "validation";
  CHECK(has(usage_error([&] { read_recipe(both); }), "not both"));
  Json json = kLeast;
  CHECK(has(usage_error([&] { set_in_recipe(json, "epochs"); }), "expected key=value"));
  CHECK(has(usage_error([&] { set_in_recipe(json, "model.x=1"); }), "'model' is not an object"));
}

TEST_CASE("a run's folder vanishes unless something in it is worth having", "[engine]") {
  using Start = RunFolder::Start;
  const Scratch scratch;
  const auto out = scratch / "deep/out";
  {
    RunFolder folder(out, Start::fresh);
    std::ofstream(folder.path() / "recipe.json") << "{}";
    CHECK(has(usage_error([&] { RunFolder(out, Start::resume); }), "another training is writing there"));
  }
  CHECK_FALSE(std::filesystem::exists(out));
  {
    RunFolder folder(scratch / "deep/out/", Start::fresh);
    std::ofstream(folder.path() / "recipe.json") << "{}";
    folder.keep();
  }
  CHECK(has(usage_error([&] { RunFolder(out, Start::fresh); }), "--resume"));
  scratch.write("deep/out/results.json", "{}");
  CHECK(RunFolder::finished(out));
  CHECK(has(usage_error([&] { RunFolder(out, Start::fresh); }), "is not empty"));
}

TEST_CASE("what a run replaces comes back when the run fails, and goes when it is finished", "[engine]") {
  using Start = RunFolder::Start;
  const Scratch scratch;
  scratch.write("out/config.json", "old");
  { const RunFolder folder(scratch / "out", Start::overwrite); }
  CHECK(zoo::test::file_text(scratch / "out/config.json") == "old");
  {
    RunFolder folder(scratch / "out", Start::overwrite);
    folder.keep();  // ... and then the run is killed
  }
  {
    RunFolder folder(scratch / "out", Start::overwrite);
    CHECK(zoo::test::file_text(scratch / "out.replaced/config.json") == "old");
    scratch.write("out/new", "x");
    folder.finish();
  }
  CHECK(std::distance(std::filesystem::directory_iterator(scratch.path()), {}) == 1);
  CHECK(has(usage_error([&] { RunFolder(scratch / "out", Start::overwrite); }), "does not remove"));  // no checkpoint in it
  scratch.write("file", "");
  CHECK(has(usage_error([&] { RunFolder(scratch / "file", Start::overwrite); }), "is a file"));
}

TEST_CASE("pages escape what they show, and plots survive odd values", "[report]") {
  Page page("a <b> & \"c\"");
  page.facts({{"<key>", "<value>"}});
  CHECK(has(page.html(), "<h1>a &lt;b&gt; &amp; &quot;c&quot;</h1>"));
  CHECK(has(page.html(), "&lt;value&gt;"));
  CHECK(base64("") == "");
  CHECK(base64("M") == "TQ==");
  CHECK(base64("Ma") == "TWE=");
  CHECK(base64("Man") == "TWFu");
  CHECK(round_ticks(0.0, 1.0, 5) == std::vector<double>{0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0});
  CHECK(round_ticks(3.0, 3.0, 5) == std::vector<double>{3.0});
  CHECK(has(draw_svg({"loss", "epoch", {{"a", {}, false}}}), "no values"));
  const std::string svg = draw_svg({"loss", "epoch", {{"a", {{0, 1}, {1, std::nan("")}, {2, 1}}, false}}});
  CHECK(has(svg, "polyline"));
  CHECK_FALSE(has(svg, "nan"));
}

}  // namespace training_parts_tests
