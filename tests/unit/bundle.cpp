#include "app/bundle.h"
#include "app/cli.h"

#include "app/files.h"
#include "app/machine.h"
#include "models/registry.h"
#include "tests/catch.h"
#include "tests/cli/program.h"

namespace zoo::test::bundle {
using app::BundleOptions;
using app::load_bundle;
using app::save_bundle;

BundleOptions training() {
  BundleOptions options;
  options.for_training = true;
  return options;
}

TEST_CASE("a saved bundle loads with the same weights, classes and config", "[bundle]") {
  const Scratch scratch;
  for (const std::string spec : {"bert:tiny", "vit:tiny", "cct:tiny"}) {
    INFO(spec);
    const auto folder = scratch / spec.substr(0, 3);
    const auto made = load_bundle(spec, at::kCPU, training());
    save_bundle(made, folder);
    const auto loaded = load_bundle(folder.string(), at::kCPU);
    CHECK(loaded.entry->name == made.entry->name);
    CHECK(loaded.task == made.task);
    CHECK(loaded.labels == made.labels);
    CHECK(loaded.report.loaded == loaded.report.total);
    CHECK(!loaded.model->is_training());
    const auto before = weights::state_dict(*made.model), after = weights::state_dict(*loaded.model);
    REQUIRE(before.size() == after.size());
    for (size_t i = 0; i < before.size(); ++i) {
      CHECK(before[i].first == after[i].first);
      CHECK(at::equal(before[i].second, after[i].second));
      CHECK(!after[i].second.requires_grad());
    }
    CHECK(app::read_json(folder / "config.json").at("dtype") == "float32");
  }
}

TEST_CASE("a head of other classes is fresh only on request", "[bundle]") {
  const Scratch scratch;
  save_bundle(load_bundle("vit:tiny", at::kCPU, training()), scratch / "ten");
  auto three = training();
  three.labels = {"cat", "dog", "eel"};
  CHECK(has(message_of([&] { load_bundle((scratch / "ten").string(), at::kCPU, three); }), "--reinit-head"));
  three.reinit_head = true;
  const auto bundle = load_bundle((scratch / "ten").string(), at::kCPU, three);
  CHECK(bundle.labels == three.labels);
  CHECK(bundle.report.mismatched.size() == 2);
  for (const auto& parameter : bundle.model->parameters()) CHECK(at::isfinite(parameter).all().item<bool>());
  save_bundle(bundle, scratch / "three");
  const auto config = app::read_json(scratch / "three/config.json");
  CHECK(config.at("id2label").at("2") == "eel");
  CHECK(config.at("label2id").at("dog") == 1);
  CHECK(config.at("num_labels") == 3);
  CHECK(load_bundle((scratch / "three").string(), at::kCPU).labels == three.labels);
}

TEST_CASE("a base model becomes a classifier for training, and not by accident otherwise", "[bundle]") {
  const Scratch scratch;
  const auto base = load_bundle("bert:tiny", at::kCPU, training());
  save_bundle(base, scratch / "base");
  BundleOptions classify;
  classify.task = "text_classification";
  classify.classes = 4;
  CHECK(has(message_of([&] { load_bundle((scratch / "base").string(), at::kCPU, classify); }), "classifier.weight"));
  classify.for_training = true;
  const auto bundle = load_bundle((scratch / "base").string(), at::kCPU, classify);
  CHECK(bundle.task == "text_classification");
  CHECK(bundle.report.missing == std::vector<std::string>{"classifier.weight", "classifier.bias"});
  CHECK(bundle.labels.size() == 4);
  const auto old_words = base.model->named_parameters()["embeddings.word_embeddings.weight"];
  CHECK(at::equal(bundle.model->named_parameters()["bert.embeddings.word_embeddings.weight"], old_words));
}

TEST_CASE("a checkpoint with a hole does not pass as one with a missing head", "[bundle]") {
  const Scratch scratch;
  save_bundle(load_bundle("bert:tiny", at::kCPU, training()), scratch / "full");
  const auto checkpoint = weights::Checkpoint::open(scratch / "full");
  weights::NamedTensors some;
  for (const auto& info : checkpoint.tensors()) {
    if (info.name != "encoder.layer.1.output.dense.weight") some.emplace_back(info.name, checkpoint.get(info.name));
  }
  std::filesystem::create_directories(scratch / "holed");
  weights::save_safetensors(scratch / "holed/model.safetensors", some);
  std::filesystem::copy(scratch / "full/config.json", scratch / "holed/config.json");
  CHECK(has(message_of([&] { load_bundle((scratch / "holed").string(), at::kCPU, training()); }), "encoder.layer.1.output.dense.weight"));
  auto allowed = training();
  allowed.allow_missing = true;
  const auto bundle = load_bundle((scratch / "holed").string(), at::kCPU, allowed);
  const auto fresh = bundle.model->named_parameters()["encoder.layer.1.output.dense.weight"];
  CHECK(fresh.abs().max().item<float>() > 0);
  CHECK(fresh.std().item<float>() == Approx(0.02).epsilon(0.2));
}

TEST_CASE("similarity and linkage take the embedding head", "[bundle]") {
  BundleOptions options;
  options.task = "similarity";
  CHECK(load_bundle("bert:tiny", at::kCPU, options).task == "embedding");
  options.task = "image_classification";
  CHECK(has(message_of([&] { load_bundle("bert:tiny", at::kCPU, options); }), "it serves embedding"));
}

TEST_CASE("loading takes at most 1.1 times the file's size", "[bundle]") {
  const Scratch scratch;
  save_bundle(load_bundle("bert:minilm-l6", at::kCPU, training()), scratch / "real-size");
  const double file = static_cast<double>(std::filesystem::file_size(scratch / "real-size/model.safetensors"));
  load_bundle("bert:tiny", at::kCPU);  // what LibTorch sets up on first use is not the loader's
  app::reset_peak_resident_bytes();
  const double before = static_cast<double>(app::peak_resident_bytes());
  const auto bundle = load_bundle((scratch / "real-size").string(), at::kCPU);
  const at::NoGradGuard no_grad;
  const auto tokens = at::randint(0, 30522, {1, 16}, at::kLong);
  bundle.model->forward({{"tokens", tokens}});
  CHECK(static_cast<double>(app::peak_resident_bytes()) - before <= 1.1 * file);
  CHECK(static_cast<double>(app::peak_resident_bytes()) - before >= 0.1 * file);  // the measure works: something was read
}

TEST_CASE("dtype casts floating-point tensors alone", "[bundle]") {
  const Scratch scratch;
  save_bundle(load_bundle("bert:tiny", at::kCPU, training()), scratch / "float");
  BundleOptions options = training();
  options.dtype = "bfloat16";
  for (const auto& spec : {std::string("bert:tiny"), (scratch / "float").string()}) {
    const auto bundle = load_bundle(spec, at::kCPU, options);
    for (const auto& parameter : bundle.model->parameters()) CHECK(parameter.scalar_type() == at::kBFloat16);
  }
}

TEST_CASE("on a CPU bfloat16 and int8 are precisions of the products", "[bundle]") {
  const Scratch scratch;
  save_bundle(load_bundle("bert:minilm-l6", at::kCPU, training()), scratch / "float");
  const at::NoGradGuard no_grad;
  const auto tokens = at::randint(0, 30522, {3, 16}, at::kLong);
  const auto hidden = [&](const std::string& dtype) {
    BundleOptions options;
    options.dtype = dtype;
    const auto bundle = load_bundle((scratch / "float").string(), at::kCPU, options);
    for (const auto& parameter : bundle.model->parameters()) CHECK(parameter.scalar_type() == at::kFloat);
    return bundle.model->forward({{"tokens", tokens}}).at("hidden");
  };
  const auto exact = hidden("float32");
  const auto off = [&](const std::string& dtype) { return ((hidden(dtype) - exact).norm() / exact.norm()).item<double>(); };
  const double bf16 = off("bf16"), int8 = off("int8");
  CHECK(bf16 > 1e-5);  // it is another arithmetic
  CHECK(bf16 < 0.02);
  CHECK(int8 > 1e-5);
  CHECK(int8 < 0.1);
  CHECK(off("fp32") == 0.0);
  NEEDS(Panels::possible(), "a processor with AVX2");
  const double eight = off("int8-weights"), four = off("int4-weights");
  CHECK(eight > 1e-5);
  CHECK(eight < 0.05);
  CHECK(four > 2 * eight);
  CHECK(four < 0.5);
}

TEST_CASE("int8 is refused where it cannot be", "[bundle]") {
  BundleOptions options = training();
  options.dtype = "int8";
  CHECK_THROWS_AS(load_bundle("bert:tiny", at::kCPU, options), app::UsageError);
  options.dtype = "int4-weights";
  CHECK_THROWS_AS(load_bundle("bert:tiny", at::kCPU, options), app::UsageError);
  options.dtype = "int7";
  CHECK_THROWS_AS(load_bundle("bert:tiny", at::kCPU, options), app::UsageError);
}

TEST_CASE("bad configs are refused with the file's name", "[bundle]") {
  const Scratch scratch;
  save_bundle(load_bundle("cct:tiny", at::kCPU, training()), scratch / "good");
  const auto good = file_text(scratch / "good/config.json");
  std::filesystem::copy(scratch / "good", scratch / "bad");
  struct Bad {
    std::string config, hint;
  };
  const auto with = [&](const std::string& key, const Json& value) {
    Json config = Json::parse(good);
    config[key] = value;
    return config.dump();
  };
  for (const auto& bad : {Bad{"", "JSON"}, Bad{"[]", "object"}, Bad{good.substr(0, good.size() / 2), "JSON"},
                          Bad{R"({"architectures": ["CCT"], "architectures": ["CVT"]})", "occurs twice"},
                          Bad{std::string(40, '[') + std::string(40, ']'), "levels"}, Bad{with("img_size", 0), "img_size"},
                          Bad{with("img_size", -3), "img_size"}, Bad{with("img_size", "16"), "img_size"},
                          Bad{with("imgsize", 16), "unknown config key 'imgsize'"}, Bad{with("architectures", {"CCTT"}), "nearest: CCT"},
                          Bad{with("id2label", {{"0", "a"}, {"7", "b"}}), "id2label"}, Bad{with("id2label", {{"0", 5}}), "id2label"}}) {
    INFO(bad.config.substr(0, 100));
    scratch.write("bad/config.json", bad.config);
    const auto message = message_of([&] { load_bundle((scratch / "bad").string(), at::kCPU); });
    CHECK(has(message, bad.hint));
    CHECK(has(message, "config.json"));
  }
}

TEST_CASE("what is neither folder nor network is refused with the nearest names", "[bundle]") {
  const Scratch scratch;
  const auto nothing = message_of([&] { load_bundle("vitt:tiny", at::kCPU); });
  CHECK(has(nothing, "nearest networks: vit"));
  std::filesystem::create_directories(scratch / "empty");
  CHECK(has(message_of([&] { load_bundle((scratch / "empty").string(), at::kCPU); }), "holds no config.json"));
}

}  // namespace zoo::test::bundle
