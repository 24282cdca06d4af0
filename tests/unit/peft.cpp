// Adapters against Python's peft: tests/reference/peft_adapters.py made the folders and computed what is expected here.
#include "app/engine/peft.h"

#include "app/engine/optimizer.h"
#include "app/files.h"
#include "models/blocks/lora.h"
#include "models/blocks/series.h"
#include "models/registry.h"
#include "tests/catch.h"
#include "tests/cli/program.h"
#include "weights/checkpoint.h"
#include "weights/fill.h"
#include "weights/files.h"

namespace zoo::test::peft {
namespace fs = std::filesystem;
using app::Bundle;
using app::BundleOptions;
using app::load_bundle;

const fs::path kFixtures = fs::path(ZOO_TEST_DIR) / "fixtures" / "peft";
const std::vector<std::string> kCases = {"lora", "rslora", "dora", "layers", "bias", "head", "vit_lora", "vit_dora", "gpt2_lora", "gpt2_dora"};

const weights::Checkpoint& expected() {
  static const auto file = weights::Checkpoint::open(kFixtures / "expected.safetensors");
  return file;
}

// The key in the fixture's metadata of a case's config.
std::string network_of(const std::string& name) {
  if (name.rfind("gpt2", 0) == 0) return name;
  return name.rfind("vit", 0) == 0 ? "vit" : "bert";
}

// A checkpoint folder with the filled network that the adapters were made for.
fs::path save_base(const fs::path& folder, const std::string& network) {
  Bundle base;
  base.config = Json::parse(expected().metadata().at(network));
  base.entry = &entry_for_config(base.config);
  base.model = base.entry->make(base.config);
  weights::fill_module(*base.model, std::stoll(expected().metadata().at("seed")));
  app::save_bundle(base, folder);
  return folder;
}

// The base and a copy of one adapter beside it, under the name that its config gives the base.
struct Place {
  explicit Place(const std::string& name) {
    save_base(scratch / "filled-base", network_of(name));
    fs::copy(kFixtures / name, scratch / name, fs::copy_options::recursive);
    adapter = (scratch / name).string();
    base = (scratch / "filled-base").string();
  }
  Scratch scratch;
  std::string adapter, base;
};

Tensors batch(const std::string& network, int64_t number = 0) {
  const int64_t seed = std::stoll(expected().metadata().at("seed")) + number;
  Tensors inputs = {{"labels", weights::fill_tokens("labels", {4}, seed, 0, 3)}};
  if (network == "vit") {
    inputs["image"] = weights::fill_inputs("image", {4, 3, 8, 8}, seed);
    return inputs;
  }
  inputs["tokens"] = weights::fill_tokens("tokens", {4, 9}, seed, 0, 60);
  inputs["mask"] = at::ones({4, 9}, at::kBool);
  inputs["mask"][1].slice(0, 6).fill_(false);
  if (network == "gpt2") inputs["tokens"].masked_fill_(inputs["mask"].logical_not(), 0);  // its classifier looks for padding
  return inputs;
}

at::Tensor logits_of(Bundle& bundle, int64_t number = 0) { return bundle.model->forward(batch(bundle.entry->name, number)).at("logits"); }
at::Tensor loss_of(Bundle& bundle, int64_t number = 0) {
  const auto logits = logits_of(bundle, number);
  const auto last = logits.dim() == 3 ? logits.select(1, -1) : logits;  // of a language model: the text's last position
  return at::cross_entropy_loss(last, batch(bundle.entry->name, number).at("labels"));
}

double difference(const at::Tensor& a, const at::Tensor& b) { return (a.detach() - b.view_as(a)).abs().max().item<double>(); }

BundleOptions with(const std::vector<std::string>& adapters, bool training = false) {
  BundleOptions options;
  options.adapters = adapters;
  options.for_training = training;
  return options;
}

// What the adapter trains, by the names that the fixture uses.
std::map<std::string, at::Tensor> trained(const Bundle& bundle) {
  std::map<std::string, at::Tensor> result;
  for (const auto& item : bundle.model->named_parameters()) {
    if (!item.value().requires_grad()) continue;
    std::string name = item.key();
    const std::string inside = "." + bundle.adapters.back().name;
    if (const auto at = name.find(inside); at != std::string::npos) name.erase(at, inside.size());
    result.emplace(name, item.value());
  }
  return result;
}

// The names behind "<case>.<kind>." in the fixture.
std::vector<std::string> names_in(const std::string& prefix) {
  std::vector<std::string> names;
  for (const auto& info : expected().tensors()) {
    if (info.name.rfind(prefix, 0) == 0) names.push_back(info.name.substr(prefix.size()));
  }
  return names;
}

TEST_CASE("adapters made by Python's peft give the same logits here", "[peft]") {
  for (const auto& name : kCases) {
    const Place place(name);
    auto unmerged = load_bundle(place.base, at::kCPU, with({place.adapter}));
    const auto wanted = expected().get(name + ".logits");
    const double error = difference(logits_of(unmerged), wanted);
    INFO(name << ": " << error);
    CHECK(error < 1e-5);
    auto alone = load_bundle(place.adapter, at::kCPU);  // finds its base beside it
    CHECK(difference(logits_of(alone), wanted) < 1e-5);
    if (name == "head" || name == "bias") continue;
    auto plain = load_bundle(place.base, at::kCPU);  // the adapter does change something
    CHECK(difference(logits_of(plain), wanted) > 1e-2);
  }
}

TEST_CASE("what an adapter trains has peft's gradients, and nothing else has any", "[peft]") {
  for (const auto& name : kCases) {
    const Place place(name);
    auto bundle = load_bundle(place.adapter, at::kCPU, with({}, true));
    bundle.model->eval();
    loss_of(bundle).backward();
    const auto parameters = trained(bundle);
    const auto names = names_in(name + ".grad.");
    CHECK(parameters.size() == names.size());
    for (const auto& key : names) {
      INFO(name << " " << key);
      REQUIRE(parameters.count(key));
      REQUIRE(parameters.at(key).grad().defined());
      CHECK(difference(parameters.at(key).grad(), expected().get(name + ".grad." + key)) < 1e-5);
    }
    for (const auto& item : bundle.model->named_parameters()) CHECK((item.value().requires_grad() || !item.value().grad().defined()));
  }
}

TEST_CASE("merged weights are peft's, and the merged network gives what the adapted one gave", "[peft]") {
  for (const auto& name : kCases) {
    const Place place(name);
    auto bundle = load_bundle(place.base, at::kCPU, with({place.adapter}, true));
    bundle.model->eval();
    const auto before = logits_of(bundle).detach();
    merge_adapters(bundle);
    CHECK(difference(logits_of(bundle), before) < 1e-5);
    std::map<std::string, at::Tensor> tensors;
    for (const auto& item : bundle.model->named_parameters()) tensors.emplace(item.key(), item.value());
    for (const auto& key : names_in(name + ".merged.")) {
      INFO(name << " " << key);
      REQUIRE(tensors.count(key));
      CHECK(difference(tensors.at(key), expected().get(name + ".merged." + key)) < 1e-6);
    }
    app::save_bundle(bundle, place.scratch / "merged");
    auto again = load_bundle((place.scratch / "merged").string(), at::kCPU);
    CHECK(difference(logits_of(again), before) < 1e-5);
  }
}

TEST_CASE("a weighted sum of adapters is peft's", "[peft]") {
  const Place place("rslora");
  fs::copy(kFixtures / "dora", place.scratch / "dora");
  const std::string dora = (place.scratch / "dora").string();
  auto sum = load_bundle(place.base, at::kCPU, with({place.adapter + ":0.7", dora + ":0.5"}));
  CHECK(difference(logits_of(sum), expected().get("sum.logits")) < 1e-5);
  auto merged = load_bundle(place.base, at::kCPU, with({place.adapter + ":0.7", dora + ":0.5"}, true));
  merged.model->eval();
  merge_adapters(merged);
  CHECK(difference(logits_of(merged), expected().get("sum.logits")) < 1e-5);
  CHECK(has(message_of([&] { load_bundle(place.base, at::kCPU, with({place.adapter + ":much"})); }), "no weight"));
}

TEST_CASE("an adapter after 20 steps is that of peft and torch", "[peft]") {
  for (const std::string name : {"lora", "rslora", "dora"}) {
    const Place place(name);
    auto config = app::read_json(fs::path(place.adapter) / "adapter_config.json");
    config["lora_dropout"] = 0.0;
    weights::write_file_atomically(fs::path(place.adapter) / "adapter_config.json", config.dump());
    auto bundle = load_bundle(place.adapter, at::kCPU, with({}, true));
    bundle.model->train();
    app::OptimizerOptions options;
    options.weight_decay = 0.05;
    const auto optimizer = app::make_optimizer(options, *bundle.model);
    const auto losses = expected().get(name + ".trained.losses");
    for (int64_t step = 0; step < losses.size(0); ++step) {
      optimizer->zero_grad();
      const auto loss = loss_of(bundle, step);
      CHECK(std::abs(loss.item<double>() - losses[step].item<double>()) < 1e-4);
      loss.backward();
      optimizer->step(5e-3);
    }
    double worst = 0;
    for (const auto& [key, tensor] : trained(bundle)) worst = std::max(worst, difference(tensor, expected().get(name + ".trained." + key)));
    INFO(name << ": largest difference of an adapter's tensor after 20 steps: " << worst);
    CHECK(worst < 1e-5);
  }
}

TEST_CASE("an adapter on weights stored [in, out] says so to peft", "[peft]") {
  const auto says = [](const Bundle& bundle) { return app::current_adapter(bundle).config.fan_in_fan_out; };
  for (const std::string name : {"gpt2_lora", "lora"}) {
    INFO(name);
    const Place place(name);
    const bool transposed = name == "gpt2_lora";
    auto fresh = load_bundle(place.base, at::kCPU, with({}, true));
    app::start_adapter(fresh, app::read_peft({{"method", "lora"}, {"fan_in_fan_out", !transposed}}));
    CHECK(says(fresh) == transposed);
    // peft goes by the layers, not by what a hand-written file says.
    const fs::path file = fs::path(place.adapter) / "adapter_config.json";
    auto config = app::read_json(file);
    config["fan_in_fan_out"] = !transposed;
    weights::write_file_atomically(file, config.dump());
    auto read = load_bundle(place.adapter, at::kCPU, with({}, true));
    read.model->eval();
    CHECK(says(read) == transposed);
    CHECK(difference(logits_of(read), expected().get(name + ".logits")) < 1e-5);
  }
}

TEST_CASE("a saved adapter is the one that was read", "[peft]") {
  for (const auto& name : kCases) {
    const Place place(name);
    const auto bundle = load_bundle(place.adapter, at::kCPU, with({}, true));
    app::save_bundle(bundle, place.scratch / "saved");
    CHECK(!fs::exists(place.scratch / "saved" / "model.safetensors"));
    CHECK(fs::exists(place.scratch / "saved" / "config.json"));
    auto again = load_bundle((place.scratch / "saved").string(), at::kCPU);
    INFO(name);
    CHECK(difference(logits_of(again), expected().get(name + ".logits")) < 1e-5);
    if (network_of(name) == "vit") continue;  // is saved under the published checkpoints' names
    const auto before = weights::Checkpoint::open(kFixtures / name / "adapter_model.safetensors");
    const auto after = weights::Checkpoint::open(place.scratch / "saved" / "adapter_model.safetensors");
    REQUIRE(before.tensors().size() == after.tensors().size());
    for (const auto& info : before.tensors()) {
      REQUIRE(after.contains(info.name));
      CHECK(at::equal(after.get(info.name), before.get(info.name)));
    }
  }
}

TEST_CASE("dropout acts on the adapter in training alone", "[peft]") {
  const Place place("lora");
  auto bundle = load_bundle(place.adapter, at::kCPU, with({}, true));
  bundle.model->train();
  CHECK(difference(logits_of(bundle), logits_of(bundle)) > 1e-4);
  bundle.model->eval();
  CHECK(difference(logits_of(bundle), logits_of(bundle)) == 0.0);
}

TEST_CASE("a fresh adapter changes nothing before its first step", "[peft]") {
  const Place place("lora");
  const Json settings = {{"r", 4}, {"alpha", 8}, {"dropout", 0.1}};
  for (const std::string method : {"lora", "dora", "bias", "head"}) {
    INFO(method);
    auto plain = load_bundle(place.base, at::kCPU);
    auto bundle = load_bundle(place.base, at::kCPU, with({}, true));
    Json wanted = {{"method", method}};
    if (method == "lora" || method == "dora") wanted.update(settings);
    const auto options = app::read_peft(wanted);
    CHECK(app::write_peft(app::read_peft(app::write_peft(options))) == app::write_peft(options));
    app::start_adapter(bundle, options);
    bundle.model->eval();
    CHECK(difference(logits_of(bundle), logits_of(plain)) < 1e-5);
    int64_t count = 0, all = 0;
    for (const auto& parameter : bundle.model->parameters()) {
      all += parameter.numel();
      if (parameter.requires_grad()) count += parameter.numel();
    }
    CHECK(count == app::current_adapter(bundle).parameters());
    CHECK(count < all / 2);
    if (method == "head") CHECK(count == 16 * 3 + 3);
    app::save_bundle(bundle, place.scratch / method);
    auto again = load_bundle((place.scratch / method).string(), at::kCPU);
    CHECK(difference(logits_of(again), logits_of(plain)) < 1e-5);
  }
}

TEST_CASE("a head that the base lacks travels with the adapter", "[peft]") {
  const Scratch scratch;
  Bundle base = load_bundle("bert:tiny", at::kCPU, with({}, true));  // no head
  app::save_bundle(base, scratch / "base");
  auto options = with({}, true);
  options.task = "text_classification";
  options.labels = {"bad", "fair", "good"};
  auto bundle = load_bundle((scratch / "base").string(), at::kCPU, options);
  app::start_adapter(bundle, app::read_peft({{"method", "lora"}, {"r", 2}, {"target_modules", {"query"}}, {"modules_to_save", Json::array()}}));
  bundle.model->eval();
  app::save_bundle(bundle, scratch / "adapter");
  auto again = load_bundle((scratch / "adapter").string(), at::kCPU);
  CHECK(again.task == "text_classification");
  CHECK(again.labels == options.labels);
  CHECK(difference(logits_of(again), logits_of(bundle)) < 1e-5);
  auto explicitly = load_bundle((scratch / "base").string(), at::kCPU, with({(scratch / "adapter").string()}));
  CHECK(difference(logits_of(explicitly), logits_of(bundle)) < 1e-5);
}

TEST_CASE("1x1 convolutions that stand for linear layers are adapted as peft adapts Conv1d", "[peft]") {
  const int64_t seed = std::stoll(expected().metadata().at("seed"));
  const at::NoGradGuard no_grad;
  for (const std::string kind : {"lora", "dora"}) {
    INFO(kind);
    PointwiseConv layer(6, 5);
    layer->weight.copy_(weights::fill_values("conv.weight", {5, 6, 1}, seed));
    layer->bias.copy_(weights::fill_values("conv.bias", {5}, seed));
    std::shared_ptr<LoraImpl> term = std::make_shared<LoraImpl>(LoraShape{2, 1.5}, *layer);
    if (kind == "dora") term = std::make_shared<DoraImpl>(LoraShape{2, 1.5}, *layer);
    const auto read = [&](const std::string& name) { return expected().get("conv." + kind + "." + name); };
    term->a.copy_(read("conv.lora_A.weight"));
    term->b.copy_(read("conv.lora_B.weight"));
    if (auto* dora = dynamic_cast<DoraImpl*>(term.get())) dora->magnitude.copy_(read("conv.lora_magnitude_vector"));
    layer->attach("adapter0", term);
    layer->eval();
    CHECK(difference(layer(expected().get("conv.x")), read("y")) < 1e-5);
    layer->merge_adapters();
    CHECK(difference(layer->weight, read("merged")) < 1e-6);
    CHECK(difference(layer(expected().get("conv.x")), read("y")) < 1e-5);
  }
}

TEST_CASE("an adapter for another base is refused by name", "[peft]") {
  const Place place("lora");
  Bundle other = load_bundle("bert:tiny", at::kCPU, with({}, true));
  app::save_bundle(other, place.scratch / "other");
  const auto text = message_of([&] { load_bundle((place.scratch / "other").string(), at::kCPU, with({place.adapter})); });
  INFO(text);
  CHECK(has(text, "network of another size"));
  CHECK(has(text, "filled-base"));
  CHECK(has(text, "bert.encoder.layer.0.attention.self.query"));
  CHECK(has(text, "[4, 16]"));
  CHECK(has(text, "[64, 64]"));
  save_base(place.scratch / "pictures", "vit");
  const auto pictures = message_of([&] { load_bundle((place.scratch / "pictures").string(), at::kCPU, with({place.adapter})); });
  INFO(pictures);
  CHECK(has(pictures, "made for another network"));
  CHECK(has(pictures, "no such layer"));
  CHECK(has(pictures, "'bert.encoder"));
  CHECK(has(pictures, "'vit.encoder"));
  CHECK(has(pictures, "--adapter " + place.adapter));
  app::remove_tree(place.base);
  CHECK(has(message_of([&] { load_bundle(place.adapter, at::kCPU); }), "--adapter"));
}

TEST_CASE("an adapter that zoo trained, on another base: the kind of network or the sizes that differ are told", "[peft]") {
  const Place place("lora");
  const auto bundle = load_bundle(place.adapter, at::kCPU, with({}, true));
  app::save_bundle(bundle, place.scratch / "own");  // with the config.json of its network
  const std::string own = (place.scratch / "own").string();
  save_base(place.scratch / "pictures", "vit");
  const auto other = message_of([&] { load_bundle((place.scratch / "pictures").string(), at::kCPU, with({own})); });
  INFO(other);
  CHECK(has(other, "was made for the network bert"));
  CHECK(has(other, "pictures is vit"));
  CHECK(has(other, "filled-base"));
  // Another size, named on the command line or found under the base's name.
  Bundle wide;
  wide.config = Json::parse(expected().metadata().at("bert"));
  wide.config["hidden_size"] = 32;
  wide.entry = &entry_for_config(wide.config);
  wide.model = wide.entry->make(wide.config);
  wide.model->init_weights();
  app::save_bundle(wide, place.scratch / "wide");
  const auto sizes = message_of([&] { load_bundle((place.scratch / "wide").string(), at::kCPU, with({own})); });
  INFO(sizes);
  CHECK(has(sizes, "hidden_size: 16 in the adapter's config.json, 32 in the base's"));
  app::remove_tree(place.base);
  fs::rename(place.scratch / "wide", place.base);
  const auto replaced = message_of([&] { load_bundle(own, at::kCPU); });
  INFO(replaced);
  CHECK(has(replaced, "does not fit its base"));
  CHECK(has(replaced, "hidden_size: 16 in the adapter's config.json, 32 in the base's"));
  CHECK(has(replaced, "--adapter " + own));
}

TEST_CASE("settings that zoo does not compute and files that contradict themselves are refused", "[peft]") {
  const Place place("lora");
  const fs::path file = fs::path(place.adapter) / "adapter_config.json";
  const Json good = app::read_json(file);
  const auto refused = [&](const char* key, const Json& value, const std::string& text) {
    Json bad = good;
    bad[key] = value;
    weights::write_file_atomically(file, bad.dump());
    const auto message = message_of([&] { load_bundle(place.adapter, at::kCPU); });
    INFO(key << ": " << message);
    CHECK(has(message, text));
  };
  refused("peft_type", "IA3", "LORA");
  refused("r", 0, "from 1 to");
  refused("r", 1e300, "from 1 to");
  refused("r", 8, "rank 8");
  refused("lora_alpha", "much", "a number");
  refused("lora_dropout", -1, "share");
  refused("target_modules", "((", "no regular expression");
  refused("target_modules", std::string(5000, 'a'), "5000 bytes");
  refused("target_modules", {"query", "key", "value"}, "misfits");
  refused("rank_pattern", {{"(", 3}}, "no regular expression");
  refused("bias", "some", "lora_only");
  refused("use_dora", true, "lora_magnitude_vector");
  refused("init_lora_weights", "pissa", "path_initial_model_for_weight_conversion");
  refused("layer_replication", {{0, 2}}, "layer_replication");
  refused("base_model_name_or_path", "somewhere/else", "somewhere/else");
  weights::write_file_atomically(file, "{");
  CHECK(has(message_of([&] { load_bundle(place.adapter, at::kCPU); }), "adapter_config.json"));
}

void save_tensors(const Place& place, const weights::NamedTensors& tensors) {
  weights::save_safetensors(fs::path(place.adapter) / "adapter_model.safetensors", tensors);
}

TEST_CASE("tensors that are no adapter's are refused by name", "[peft]") {
  const Place place("rslora");
  const std::string layer = "base_model.model.bert.encoder.layer.0.output.dense";
  const auto refused = [&](const weights::NamedTensors& tensors, const std::string& text) {
    save_tensors(place, tensors);
    const auto message = message_of([&] { load_bundle(place.adapter, at::kCPU); });
    INFO(message);
    CHECK(has(message, text));
  };
  refused({{layer + ".lora_A.weight", at::zeros({3, 24})}}, "has no lora_B");
  refused({{layer + ".lora_A.weight", at::zeros({3, 24})}, {layer + ".lora_B.weight", at::zeros({16})}}, "expected [r, in, ...]");
  refused({{layer + ".lora_A.weight", at::zeros({2, 24})}, {layer + ".lora_B.weight", at::zeros({16, 2})}}, "rank 3");
  refused({{layer + ".lora_A.weight", at::zeros({3, 24}, at::kLong)}}, "floating-point");
  refused({{layer + ".lora_embedding_A", at::zeros({3, 24})}}, "does not know");
  refused({{"bert.pooler.weight", at::zeros({3})}}, "base_model.model.");
  refused({{layer + ".lora_A.weight", at::zeros({3, 24})}, {layer + ".lora_B.weight", at::zeros({16, 3})}}, "has no tensors for it");
  refused({}, "holds no tensors");
  fs::remove(fs::path(place.adapter) / "adapter_model.safetensors");
  CHECK(has(message_of([&] { load_bundle(place.adapter, at::kCPU); }), "adapter_model.bin"));
}

TEST_CASE("recipes' mistakes about adapters are told", "[peft]") {
  const Place place("lora");
  CHECK(has(message_of([&] { app::read_peft({{"r", 4}}); }), "'method' is missing"));
  CHECK(has(message_of([&] { app::read_peft({{"method", "lroa"}}); }), "lora, dora, bias, head"));
  CHECK(has(message_of([&] { app::read_peft({{"method", "lora"}, {"rank", 4}}); }), "'rank'"));
  CHECK(has(message_of([&] { app::read_peft({{"method", "lora"}, {"alpha", 1}, {"lora_alpha", 2}}); }), "same setting"));
  auto fresh = load_bundle("bert:tiny", at::kCPU, with({}, true));
  CHECK(has(message_of([&] { app::start_adapter(fresh, app::read_peft({{"method", "lora"}})); }), "checkpoint folder"));
  auto bundle = load_bundle(place.base, at::kCPU, with({}, true));
  CHECK(has(message_of([&] { app::start_adapter(bundle, app::read_peft({{"method", "lora"}, {"target_modules", {"querry"}}})); }), "query"));
  auto adapted = load_bundle(place.adapter, at::kCPU, with({}, true));
  CHECK(has(message_of([&] { app::start_adapter(adapted, app::read_peft({{"method", "lora"}, {"r", 16}})); }), "16"));
}

}  // namespace zoo::test::peft
