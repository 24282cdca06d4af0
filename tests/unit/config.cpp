// Strict configs, the registry's look-ups, nearest names, traces.
#include "models/config.h"
#include "models/names.h"
#include "models/registry.h"
#include "models/trace.h"
#include "tests/catch.h"

using namespace zoo;

namespace config_test {

std::string error_of(const std::string& variant, const Json& changes) {
  const auto& entry = find_entry(variant.substr(0, variant.find(':')));
  Json config = variant_config(entry, variant.substr(variant.find(':') + 1));
  config.update(changes);
  try {
    entry.make(config);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

}  // namespace config_test

TEST_CASE("a config with a mistake is refused with key, value and what is expected", "[config]") {
  using config_test::error_of;
  CHECK(error_of("bert:tiny", Json::object()).empty());
  CHECK_THAT(error_of("bert:tiny", {{"hidden_siz", 64}}), ContainsSubstring("unknown config key 'hidden_siz'; nearest: hidden_size"));
  CHECK_THAT(error_of("bert:tiny", {{"hidden_size", "64"}}), ContainsSubstring("'hidden_size' is \"64\"; expected a whole number"));
  CHECK_THAT(error_of("bert:tiny", {{"hidden_size", 0}}), ContainsSubstring("from 1"));
  CHECK_THAT(error_of("bert:tiny", {{"hidden_size", -64}}), ContainsSubstring("from 1"));
  CHECK_THAT(error_of("bert:tiny", {{"hidden_size", 64.5}}), ContainsSubstring("whole number"));
  CHECK_THAT(error_of("bert:tiny", {{"hidden_size", 18446744073709551615ull}}), ContainsSubstring("whole number"));
  CHECK_THAT(error_of("bert:tiny", {{"hidden_size", 66}}), ContainsSubstring("not a multiple of num_attention_heads 4"));
  CHECK_THAT(error_of("bert:tiny", {{"num_hidden_layers", 100000}}), ContainsSubstring("1024"));
  CHECK_THAT(error_of("bert:tiny", {{"hidden_act", "gelo"}}), ContainsSubstring("one of gelu"));
  CHECK_THAT(error_of("bert:tiny", {{"hidden_dropout_prob", 1.0}}), ContainsSubstring("from 0"));
  CHECK_THAT(error_of("bert:tiny", {{"layer_norm_eps", 0}}), ContainsSubstring("above 0"));
  CHECK_THAT(error_of("bert:tiny", {{"position_embedding_type", "relative_key"}}), ContainsSubstring("\"absolute\""));
  CHECK_THAT(error_of("bert:tiny", {{"is_decoder", true}}), ContainsSubstring("false"));
  CHECK_THAT(error_of("bert:tiny", {{"architectures", {"BertForNothing"}}}), ContainsSubstring("not implemented"));
  CHECK_THAT(error_of("vit:tiny", {{"image_size", 33}}), ContainsSubstring("multiple of patch_size"));
  CHECK_THAT(error_of("vit:tiny", {{"image_size", {32, 64}}}), ContainsSubstring("two equal"));
  CHECK(error_of("vit:tiny", {{"image_size", {32, 32}}}).empty());
  CHECK_THAT(error_of("cct:tiny", {{"img_size", 1}, {"padding", 0}}), ContainsSubstring("no cell"));
  CHECK_THAT(error_of("cct:tiny", {{"mlp_ratio", 1e9}}), ContainsSubstring("mlp_ratio"));
  CHECK_THAT(error_of("resnet:tiny", {{"depths", 3}}), ContainsSubstring("'depths' is 3; expected a list"));
  CHECK_THAT(error_of("resnet:tiny", {{"depths", {1, 0}}}), ContainsSubstring("from 1"));
  CHECK_THAT(error_of("resnet:tiny", {{"depths", {1, 2000}}}), ContainsSubstring("at most 1024"));
  CHECK_THAT(error_of("resnet:tiny", {{"depths", {1, 1, 1}}}), ContainsSubstring("hidden_sizes names 2 stages, depths 3"));
  CHECK_THAT(error_of("swin:tiny", {{"num_heads", {2, 5}}}), ContainsSubstring("stage 2 is 64 wide"));
}

TEST_CASE("the number of classes comes from id2label, else from the network's own key", "[config]") {
  const auto classes = [](const std::string& variant, const Json& changes) {
    const auto& entry = find_entry(variant.substr(0, variant.find(':')));
    Json config = variant_config(entry, variant.substr(variant.find(':') + 1));
    config.update(changes);
    for (const auto& item : entry.make(config)->named_parameters()) {
      if (item.key() == "classifier.weight" || item.key() == "classifier.fc.weight") return item.value().size(0);
    }
    return int64_t{0};
  };
  CHECK(classes("vit:tiny", Json::object()) == 10);
  CHECK(classes("vit:tiny", {{"id2label", {{"0", "a"}, {"1", "b"}, {"2", "c"}}}}) == 3);
  CHECK(classes("cct:tiny", {{"id2label", {{"0", "a"}, {"1", "b"}, {"2", "c"}}}}) == 3);
  CHECK(classes("cct:tiny", {{"num_classes", 4}}) == 4);
}

TEST_CASE("networks are found by name, alias, architecture and model type; others are refused with the nearest", "[config]") {
  CHECK(find_entry("vit").name == "vit");
  CHECK(find_entry("compact_transformers").name == "cct");
  CHECK(entry_for_config({{"architectures", {"BertForMaskedLM"}}}).name == "bert");
  CHECK(entry_for_config({{"model_type", "vit"}}).name == "vit");
  CHECK_THROWS_WITH(find_entry("bertt"), ContainsSubstring("nearest: bert"));
  CHECK_THROWS_WITH(entry_for_config({{"architectures", {"BertModle"}}}), ContainsSubstring("BertModel"));
  CHECK_THROWS_WITH(entry_for_config(Json::object()), ContainsSubstring("neither"));
  CHECK_THROWS_WITH(variant_config(find_entry("bert"), "tinny"), ContainsSubstring("nearest: tiny"));
  CHECK_THROWS_WITH(config_for_task(find_entry("bert"), variant_config(find_entry("bert"), "tiny"), "image_classification"),
                    ContainsSubstring("no head for task"));
}

TEST_CASE("published parameter counts", "[config]") {
  const auto count = [](const std::string& variant) { return parameter_count(*find_entry(variant.substr(0, variant.find(':')))
      .make(variant_config(find_entry(variant.substr(0, variant.find(':'))), variant.substr(variant.find(':') + 1)))); };
  CHECK(count("cct:cct_2_3x2_32") == 283723);   // counted in the reference
  CHECK(count("cct:cct_7_3x1_32") == 3760139);
  CHECK(count("bert:base") == 109482240);       // transformers: BertModel with pooler
  CHECK(count("vit:base_patch16_224") == 86567656);
}

TEST_CASE("nearest names ignore case and order by distance", "[config]") {
  CHECK(nearest("Brt", {"vit", "bert", "cct", "bart"}, 2) == std::vector<std::string>{"bart", "bert"});
  CHECK(nearest("x", {}).empty());
  CHECK(join({"a", "b"}) == "a, b");
}

TEST_CASE("a trace records modules in the order in which they return, and only one is active", "[config]") {
  auto model = make("vit:tiny");
  model->eval();
  Trace trace(*model);
  CHECK_THROWS(Trace(*model));
  model->forward({{"image", at::zeros({1, 3, 32, 32})}});
  std::vector<std::string> paths;
  for (const auto& step : trace.steps()) paths.push_back(step.path);
  const auto place = [&](const std::string& path) { return std::find(paths.begin(), paths.end(), path) - paths.begin(); };
  CHECK(place("vit.embeddings") < place("vit.encoder.layer.0"));
  CHECK(place("vit.encoder.layer.0") < place("vit.encoder.layer.1"));
  CHECK(place("classifier") == int64_t(paths.size()) - 1);
}

TEST_CASE("inputs are checked at the border", "[config]") {
  const auto& entry = find_entry("vit");
  const auto specs = entry.inputs(variant_config(entry, "tiny"));
  CHECK_NOTHROW(check_inputs("vit", specs, {{"image", at::zeros({2, 3, 32, 32})}}));
  CHECK_THROWS_WITH(check_inputs("vit", specs, {{"image", at::zeros({2, 3, 32, 33})}}), ContainsSubstring("[2, 3, 32, 33]"));
  CHECK_THROWS_WITH(check_inputs("vit", specs, {{"picture", at::zeros({1})}}), ContainsSubstring("given: picture"));
  CHECK_THROWS_WITH(check_inputs("vit", specs, {{"image", at::zeros({2, 3, 32, 32}, at::kLong)}}), ContainsSubstring("Long"));
}
