// The parts of a training step against figures of PyTorch, transformers and lion-pytorch (tests/reference/engine.py).
#include <fstream>
#include <limits>

#include "app/engine/clipping.h"
#include "app/engine/distillation.h"
#include "app/engine/ema.h"
#include "app/engine/mixing.h"
#include "app/engine/optimizer.h"
#include "app/engine/precision.h"
#include "app/engine/recipe.h"
#include "app/engine/schedule.h"
#include "tests/catch.h"
#include "tests/cli/program.h"

namespace engine_parts_tests {
using namespace zoo::app;
using zoo::Json;
using zoo::Tensors;
using zoo::test::has;
using zoo::test::message_of;

const Json& golden() {
  static const Json json = Json::parse(std::ifstream(ZOO_TEST_DIR "/fixtures/files/engine.json"));
  return json;
}

Recipe recipe_with(const std::string& section, const Json& value) {
  Json json = {{"model", "cct:tiny"}, {"task", "image_classification"}, {"data", "pictures"}, {"validation_share", 0.1}};
  json[section] = value;
  return read_recipe(json);
}

// The parameters and gradients of tests/reference/engine.py.
struct Toy : torch::nn::Module {
  std::vector<at::Tensor> all;
  Toy() {
    const std::vector<std::pair<std::string, std::vector<int64_t>>> shapes = {{"weight", {3, 4}}, {"bias", {3}}, {"kernel", {2, 3, 2, 2}}};
    for (const auto& [name, shape] : shapes) {
      const at::Tensor numbers = at::arange(c10::multiply_integers(shape), at::kDouble);
      const at::Tensor start = (at::sin(numbers * 0.7 + static_cast<double>(all.size())) * 0.5).to(at::kFloat).reshape(shape);
      all.push_back(register_parameter(name, start));
    }
  }
  void set_gradients(double step) {
    for (size_t place = 0; place < all.size(); ++place) {
      const at::Tensor numbers = at::arange(all[place].numel(), at::kDouble);
      const at::Tensor values = at::cos(numbers * 1.3 + static_cast<double>(place) + step * 0.9) * (0.3 + 0.2 * step);
      all[place].mutable_grad() = values.to(at::kFloat).reshape(all[place].sizes());
    }
  }
};

double difference(const at::Tensor& tensor, const Json& expected) {
  const at::Tensor wanted = at::tensor(expected.get<std::vector<double>>(), at::kDouble);
  return (tensor.detach().flatten().to(at::kDouble) - wanted).abs().max().item<double>();
}

TEST_CASE("optimizers take the published implementations' steps", "[engine][optimizers]") {
  for (const auto& example : golden().at("optimizers")) {
    INFO(example.at("name").get<std::string>() << " " << example.at("options").dump());
    Json options = example.at("options");
    options["name"] = example.at("name");
    if (options.contains("beta1")) {
      options["betas"] = {options.at("beta1"), 0.999};
      options.erase("beta1");
    }
    Toy toy;
    const auto optimizer = make_optimizer(recipe_with("optimizer", options).optimizer, toy);
    for (int step = 0; step < 4; ++step) {
      toy.set_gradients(step);
      optimizer->step(example.at("rates").at(static_cast<size_t>(step)).get<double>());
    }
    for (const auto& item : toy.named_parameters()) CHECK(difference(item.value(), example.at("after").at(item.key())) < 1e-6);
  }
}

TEST_CASE("an optimizer's state goes on bit for bit", "[engine][optimizers]") {
  for (const auto& name : optimizer_names()) {
    INFO(name);
    OptimizerOptions options = OptimizerOptions::defaults(name);
    if (name == "adafactor") options.beta1 = 0.9;
    Toy straight, resumed;
    const auto first = make_optimizer(options, straight);
    for (int step = 0; step < 2; ++step) straight.set_gradients(step), first->step(0.01);
    for (size_t i = 0; i < straight.all.size(); ++i) resumed.all[i].data().copy_(straight.all[i].data());
    Tensors saved;
    for (const auto& [key, tensor] : first->state()) saved[key] = tensor.clone();
    const auto second = make_optimizer(options, resumed);
    second->load_state(saved);
    for (int step = 2; step < 5; ++step) {
      straight.set_gradients(step), first->step(0.02);
      resumed.set_gradients(step), second->step(0.02);
    }
    for (size_t i = 0; i < straight.all.size(); ++i) CHECK(at::equal(straight.all[i], resumed.all[i]));
    CHECK_FALSE(saved.empty());
    Tensors wrong = saved;
    wrong["weight.nothing"] = at::zeros({1});
    CHECK(has(message_of([&] { second->load_state(wrong); }), "unknown name 'weight.nothing'"));
    wrong = saved;
    wrong.begin()->second = at::zeros({7, 7});
    CHECK(has(message_of([&] { second->load_state(wrong); }), "expected"));
    wrong.erase(wrong.begin());
    CHECK(has(message_of([&] { second->load_state(wrong); }), "is missing"));
  }
}

TEST_CASE("a parameter without a gradient stays, with its state", "[engine][optimizers]") {
  for (const auto& name : optimizer_names()) {
    INFO(name);
    Toy toy;
    const auto optimizer = make_optimizer(OptimizerOptions::defaults(name), toy);
    toy.set_gradients(0);
    toy.all[2].mutable_grad().reset();
    const at::Tensor kernel = toy.all[2].detach().clone(), weight = toy.all[0].detach().clone();
    optimizer->step(0.1);
    CHECK(at::equal(kernel, toy.all[2]));
    CHECK_FALSE(at::equal(weight, toy.all[0]));
    for (const auto& [key, tensor] : optimizer->state()) {
      if (key.starts_with("kernel.")) CHECK(tensor.abs().sum().item<double>() == 0.0);
    }
  }
}

struct Deep : torch::nn::Module {
  Deep() {
    for (const std::string name : {"embeddings", "layer_norm"}) scope(*this, name);
    auto encoder = register_module("encoder", std::make_shared<torch::nn::Module>());
    auto layers = encoder->register_module("layer", std::make_shared<torch::nn::Module>());
    for (int i = 0; i < 3; ++i) scope(*layers, std::to_string(i));
    scope(*this, "head");
  }
  static void scope(torch::nn::Module& parent, const std::string& name) {
    auto child = parent.register_module(name, std::make_shared<torch::nn::Module>());
    child->register_parameter("weight", at::ones({2, 2}));
    child->register_parameter("bias", at::ones({2}));
  }
};

TEST_CASE("groups: decay by depth, rules by pattern, frozen parameters", "[engine][optimizers]") {
  const auto scale_of = [](const std::vector<ParameterGroup>& groups, const std::string& name) {
    for (const auto& group : groups) {
      if (std::find(group.names.begin(), group.names.end(), name) != group.names.end()) return std::pair(group.lr_scale, group.weight_decay);
    }
    return std::pair(-1.0, -1.0);
  };
  Deep deep;
  auto groups = parameter_groups({0.1, 0.5, {}}, deep);
  CHECK(scale_of(groups, "embeddings.weight") == std::pair(0.0625, 0.1));
  CHECK(scale_of(groups, "layer_norm.bias") == std::pair(0.0625, 0.0));
  CHECK(scale_of(groups, "encoder.layer.0.weight") == std::pair(0.125, 0.1));
  CHECK(scale_of(groups, "encoder.layer.2.bias") == std::pair(0.5, 0.0));
  CHECK(scale_of(groups, "head.weight") == std::pair(1.0, 0.1));
  groups = parameter_groups({0.1, 1.0, {{"^encoder\\.layer\\.[01]\\.", 0.2, 0.3, false}, {"embed", 1.0, {}, true}}}, deep);
  CHECK(scale_of(groups, "encoder.layer.1.bias") == std::pair(0.2, 0.3));
  CHECK(scale_of(groups, "embeddings.weight").first == -1.0);
  CHECK_FALSE(deep.named_parameters()["embeddings.weight"].requires_grad());
  CHECK(deep.named_parameters()["head.weight"].requires_grad());
  CHECK(has(message_of([&] { parameter_groups({0.1, 1.0, {{"haed.weight", 1.0, {}, false}}}, deep); }), "nearest: head.weight"));
  CHECK(has(message_of([&] { parameter_groups({0.1, 1.0, {{"(", 1.0, {}, false}}}, deep); }), "not a regular expression"));
  CHECK(has(message_of([&] { parameter_groups({0.1, 1.0, {{".", 1.0, {}, true}}}, deep); }), "every parameter is frozen"));
  Toy toy;
  CHECK(has(message_of([&] { parameter_groups({0.1, 0.5, {}}, toy); }), "no parameter's name has a layer number"));
}

TEST_CASE("schedules give transformers' and torch's rates", "[engine][schedules]") {
  for (const auto& example : golden().at("schedules")) {
    INFO(example.at("schedule").dump());
    const Schedule schedule = recipe_with("schedule", example.at("schedule")).schedule;
    const auto rates = example.at("rates").get<std::vector<double>>();
    const bool own_rise = schedule.name == "one_cycle";
    for (int64_t step = 0; step < 40; ++step) {
      // In the rise zoo is a step ahead: it has no step with a rate of 0.
      const int64_t there = step < 7 && (schedule.warmup_steps || schedule.warmup_share > 0) && !own_rise ? step + 1 : step;
      if (step == 7 && there == step && (schedule.warmup_steps || schedule.warmup_share > 0) && !own_rise) {
        CHECK(schedule.at(step, 40, 0.2, 10) == Approx(0.2));
        continue;
      }
      INFO("step " << step);
      CHECK(schedule.at(step, 40, 0.2, 10) == Approx(rates[static_cast<size_t>(there)]).epsilon(1e-9).margin(1e-12));
    }
  }
  CHECK(has(message_of([] { Schedule{"sine"}.at(0, 10, 1.0); }), "unknown schedule 'sine'"));
}

TEST_CASE("plateau cuts the rate when torch does", "[engine][schedules]") {
  for (const auto& example : golden().at("plateaus")) {
    const Schedule schedule = recipe_with("schedule", {{"name", "plateau"}, {"factor", 0.5}, {"patience", 2}, {"threshold", 1e-3}, {"min_lr", 0.03}}).schedule;
    Plateau plateau;
    for (size_t i = 0; i < example.at("figures").size(); ++i) {
      INFO(example.at("mode") << " " << i);
      plateau.observe(schedule, example.at("figures")[i].get<double>(), example.at("mode") == "max");
      CHECK(plateau.apply(schedule, schedule.at(0, 10, 0.2)) == Approx(example.at("rates")[i].get<double>()));
    }
  }
}

TEST_CASE("clipping by norm, value and unit", "[engine][clipping]") {
  const Json& wanted = golden().at("clipping");
  const auto check = [&](const ClipOptions& options, const char* result) {
    Toy toy;
    toy.set_gradients(1);
    CHECK(clip_gradients(toy.all, options) == Approx(wanted.at("norm_before").get<double>()));
    for (const auto& item : toy.named_parameters()) CHECK(difference(item.value().grad(), wanted.at(result).at(item.key())) < 1e-6);
  };
  check({wanted.at("norm").get<double>(), 0.0, 0.0}, "by_norm");
  check({0.0, wanted.at("value").get<double>(), 0.0}, "by_value");
  check({0.0, 0.0, wanted.at("adaptive").get<double>()}, "by_adaptive");
}

TEST_CASE("averaged weights are torch's, and can be swapped in and resumed", "[engine][ema]") {
  const Json& wanted = golden().at("average");
  Toy toy, other;
  WeightAverage average({wanted.at("decay").get<double>(), false}, toy), resumed({wanted.at("decay").get<double>(), false}, other);
  const auto move = [](Toy& network, double by) {
    const at::NoGradGuard no_grad;
    for (auto& parameter : network.all) parameter.add_(by);
  };
  for (int step = 0; step < 4; ++step) {
    if (step == 2) {
      Tensors saved;
      for (const auto& [key, tensor] : average.state()) saved[key] = tensor.clone();
      resumed.load_state(saved);
      CHECK(has(message_of([&] { resumed.load_state({}); }), "is missing"));
      saved["more"] = at::zeros({});
      CHECK(has(message_of([&] { resumed.load_state(saved); }), "unknown name 'more'"));
    }
    move(toy, 0.1 * (step + 1)), move(other, 0.1 * (step + 1));
    average.update();
    if (step >= 2) resumed.update();
  }
  const at::Tensor before = toy.all[0].detach().clone();
  {
    const AveragedWeights swapped(&average);
    for (const auto& item : toy.named_parameters()) CHECK(difference(item.value(), wanted.at("after").at(item.key())) < 1e-6);
    CHECK_THROWS_AS(average.update(), std::logic_error);
  }
  CHECK(at::equal(before, toy.all[0]));
  for (const auto& [key, tensor] : average.state()) CHECK(at::equal(tensor, resumed.state().at(key)));
}

TEST_CASE("the loss scale moves as GradScaler's", "[engine][precision]") {
  const Json& wanted = golden().at("loss_scales");
  const LossScaler::Options options{wanted.at("init_scale").get<double>(), 2.0, 0.5, wanted.at("growth_interval").get<int64_t>()};
  LossScaler scaler(options, at::kCPU);
  for (size_t i = 0; i < wanted.at("finite").size(); ++i) {
    INFO("step " << i);
    const bool good = wanted.at("finite")[i].get<bool>();
    Toy toy;
    toy.set_gradients(0);
    if (good) toy.all[0].mutable_grad().fill_(1.0);
    else toy.all[0].mutable_grad().fill_(std::numeric_limits<double>::infinity());
    CHECK(scaler.unscale(toy.all) == good);
    if (good) CHECK(toy.all[0].grad()[0][0].item<double>() == Approx(wanted.at("gradients")[i].get<double>()));
    scaler.update();
    CHECK(scaler.current() == wanted.at("scales")[i].get<double>());
    LossScaler resumed(options, at::kCPU);
    resumed.load_state(scaler.state());
    CHECK(resumed.current() == scaler.current());
  }
  CHECK(has(message_of([&] { scaler.load_state({}); }), "loss_scale.scale"));
}

TEST_CASE("autocast lasts as long as its guard", "[engine][precision]") {
  const at::Tensor a = at::ones({4, 4}), b = at::ones({4, 4});
  {
    const Autocast autocast("bf16", at::kCPU);
    CHECK(at::mm(a, b).scalar_type() == at::kBFloat16);
    CHECK(at::log_softmax(at::mm(a, b), 1, at::kFloat).scalar_type() == at::kFloat);
  }
  CHECK(at::mm(a, b).scalar_type() == at::kFloat);
  const Autocast none("float32", at::kCPU);
  CHECK(at::mm(a, b).scalar_type() == at::kFloat);
  CHECK(has(message_of([] { Autocast("fp8", at::kCPU); }), "expected one of float32, bf16, fp16"));
}

TEST_CASE("mixup and CutMix mix pictures and labels alike", "[engine][mixing]") {
  at::manual_seed(5);
  const at::Tensor labels = at::tensor(std::vector<int64_t>{0, 1, 2, 3});
  const at::Tensor image = labels.to(at::kFloat).view({4, 1, 1, 1}).expand({4, 1, 8, 8}).contiguous();  // each picture shows its label
  const at::Tensor shown = at::arange(4).to(at::kFloat);
  int changed = 0;
  for (const auto& options : {MixingOptions{1.0, 0.0, 1.0}, MixingOptions{0.0, 1.0, 1.0}, MixingOptions{1.0, 1.0, 0.5}}) {
    for (int i = 0; i < 10; ++i) {
      const auto [batch, targets] = mix(options, {{"image", image}, {"labels", labels}}, 4, 0.0);
      CHECK(at::allclose(targets.sum(1), at::ones({4})));
      CHECK(at::allclose(batch.at("image").mean({1, 2, 3}), at::mv(targets, shown), 1e-5, 1e-5));
      changed += !at::equal(batch.at("image"), image);
    }
  }
  CHECK(changed > 10);
  const auto [same, smooth] = mix({1.0, 0.0, 0.0}, {{"image", image}, {"labels", labels}}, 4, 0.1);
  CHECK(at::equal(same.at("image"), image));
  const at::Tensor logits = at::randn({4, 4});
  CHECK(soft_cross_entropy(logits, smooth).item<double>() == Approx(at::cross_entropy_loss(logits, labels, {}, 1, -100, 0.1).item<double>()));
  CHECK(has(message_of([&] { mix({1.0, 0.0, 1.0}, {{"tokens", labels}}, 4, 0.0); }), "batches of pictures"));
}

struct Answer : zoo::Model {
  at::Tensor answer;
  std::string kind;  // "logits" or "forecast"
  Answer(std::string output, at::Tensor value) : answer(register_parameter("answer", std::move(value))), kind(std::move(output)) {}
  Tensors forward(const Tensors&) override { return {{kind, answer * 1.0}}; }
};

TEST_CASE("distillation: divergence of logits, squares of forecasts", "[engine][distillation]") {
  const at::Tensor one = at::tensor({1.0f, 2.0f, 0.0f, 0.5f, 0.5f, 3.0f}).view({2, 3}), two = at::tensor({0.0f, 2.0f, 1.0f, 1.0f, 0.0f, 1.0f}).view({2, 3});
  const auto teacher = std::make_shared<Answer>("logits", one);
  const Distillation distillation({"t", 0.25, 2.0}, image_classification_task(), teacher);
  CHECK_FALSE(teacher->answer.requires_grad());
  // torch 2.13: kl_div(log_softmax(two / 2), log_softmax(one / 2), log_target, sum over classes) * 4, mean over the rows
  const at::Tensor log_student = at::log_softmax(two / 2, 1), log_teacher = at::log_softmax(one / 2, 1);
  const double divergence = at::kl_div(log_student, log_teacher, at::Reduction::Sum, true).item<double>() * 4 / 2;
  CHECK(distillation.loss(at::scalar_tensor(8.0), {{"logits", two}}, {}).item<double>() == Approx(0.25 * divergence + 0.75 * 8.0));
  const Tensors half = {{"labels", at::tensor(std::vector<int64_t>{1, -100})}};
  const double first = at::kl_div(log_student[0], log_teacher[0], at::Reduction::Sum, true).item<double>() * 4;
  CHECK(distillation.loss(at::scalar_tensor(0.0), {{"logits", two}}, half).item<double>() == Approx(0.25 * first));
  CHECK(has(message_of([&] { distillation.loss(at::scalar_tensor(0.0), {{"logits", two.narrow(1, 0, 2)}}, {}); }), "must answer the same question"));
  const Distillation forecast({"t", 1.0, 1.0}, image_classification_task(), std::make_shared<Answer>("forecast", one.clone()));
  CHECK(forecast.loss(at::scalar_tensor(8.0), {{"forecast", two}}, {}).item<double>() == Approx((one - two).square().mean().item<double>()));
  CHECK(has(message_of([&] { forecast.loss(at::scalar_tensor(0.0), {{"hidden", two}}, {}); }), "logits or a forecast"));
}

TEST_CASE("recipe sections of a step read back the same", "[engine][recipe]") {
  Json json = {{"model", "cct:tiny"}, {"task", "image_classification"}, {"data", "pictures"},
               {"optimizer", {{"name", "sgd"}, {"nesterov", true}, {"layer_decay", 0.75}, {"groups", {{{"pattern", "head"}, {"lr_scale", 10.0}}, {{"pattern", "embed"}, {"frozen", true}}}}}},
               {"schedule", {{"name", "step"}, {"factor", 0.5}, {"every_epochs", 1}}}, {"clip", {{"norm", 1.0}, {"adaptive", 0.02}}},
               {"ema", {{"decay", 0.999}}}, {"precision", "bf16"}, {"recompute", true}, {"mixing", {{"mixup", 0.8}, {"cutmix", 1.0}}}};
  const Recipe recipe = read_recipe(json);
  CHECK(recipe.clip_norm == 1.0);
  CHECK(recipe.optimizer.groups.at(1).frozen);
  CHECK_FALSE(recipe.optimizer.groups.at(0).weight_decay.has_value());
  const Json full = write_recipe(recipe);
  CHECK(write_recipe(read_recipe(full)) == full);
  const auto error = [&](const std::string& assignment) {
    Json changed = json;
    set_in_recipe(changed, assignment);
    return message_of([&] { read_recipe(changed); });
  };
  CHECK(has(error("clip_norm=2"), "the same as clip.norm"));
  CHECK(has(error("clip.nrom=2"), "unknown key 'clip.nrom'; nearest: norm"));
  CHECK(has(error("optimizer.groups=[{\"patern\":\"x\"}]"), "optimizer.groups[0].pattern"));
  CHECK(has(error("optimizer.groups=3"), "a list of"));
  CHECK(has(error("optimizer.momentum=0"), "a momentum above 0"));
  CHECK(has(error("schedule.every_steps=3"), "not both"));
  CHECK(has(error("schedule.name=plateau"), "needs validation"));
  CHECK(has(error("distillation.teacher=x"), "mixing or distillation.teacher"));
  CHECK(has(error("precision=fp8"), "one of float32, bf16, fp16"));
  CHECK(recipe_with("optimizer", {{"name", "lion"}}).optimizer.beta2 == 0.99);
}

}  // namespace engine_parts_tests
