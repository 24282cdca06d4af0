// Sentence vectors, losses and correlations against sentence-transformers and scipy (tests/reference/sentence_encoder.py).
#include "app/tasks/sentence_encoder.h"


#include <fstream>
#include <set>

#include "app/cli.h"
#include "app/tasks/correlation.h"
#include "app/tasks/sentence_losses.h"
#include "models/registry.h"
#include "tests/catch.h"
#include "tests/cli/program.h"
#include "weights/fill.h"

namespace sentence_encoder_tests {
using namespace zoo;
using namespace zoo::app;
namespace fs = std::filesystem;

const Json& reference() {
  static const Json json = Json::parse(std::ifstream(std::string(ZOO_TEST_DIR) + "/fixtures/files/sentence_encoder.json"));
  return json;
}

using zoo::test::Scratch;

// The reference's network in its folder; `files` are the sentence-transformers JSON files.
Bundle filled_bundle(const Scratch& folder, const Json& files) {
  std::string vocabulary;
  for (const auto& token : reference().at("vocabulary")) vocabulary += token.get<std::string>() + "\n";
  folder.write("vocab.txt", vocabulary);
  for (const auto& [name, content] : files.items()) folder.write(name, content.dump());
  Bundle bundle;
  bundle.folder = folder.path();
  bundle.config = reference().at("config");
  bundle.tokenizer = tokenizers::load(folder.path());
  bundle.model = make_from_config(bundle.config);
  const auto keys = reference().at("keys").get<std::set<std::string>>();
  weights::fill_module(*bundle.model, reference().at("seed").get<int64_t>(), keys);
  bundle.model->eval();
  return bundle;
}

at::Tensor tensor_of(const Json& rows) {
  std::vector<double> values;
  for (const auto& row : rows)
    for (const auto& value : row) values.push_back(value.get<double>());
  return at::tensor(values, at::kDouble).view({int64_t(rows.size()), -1});
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) { return (a.to(at::kDouble) - b).abs().max().item<double>(); }

TEST_CASE("sentence vectors equal sentence-transformers' for every pooling", "[text][sentence_encoder]") {
  const auto texts = reference().at("sentences").get<std::vector<std::string>>();
  for (const auto& example : reference().at("folders")) {
    INFO(example.at("name"));
    const Scratch folder;
    const Bundle bundle = filled_bundle(folder, example.at("files"));
    const auto settings = sentence_settings(bundle, Json::object());
    CHECK(settings.max_length == example.at("max_length").get<int64_t>());
    CHECK(settings.origin == "modules.json");
    const auto expected = tensor_of(example.at("vectors"));
    // One length at a time, then all of them padded and masked together.
    CHECK(largest_difference(encode_sentences(bundle, settings, texts, ""), expected) < 2e-6);
    std::vector<std::string> prepared;
    for (const auto& text : texts) prepared.push_back(prepare_sentence(text, settings));
    const auto inputs = pad_encodings(encode_texts(*bundle.tokenizer, prepared, {}, settings.max_length), pad_id_of(bundle));
    REQUIRE(inputs.count("mask") == 1);
    at::NoGradGuard no_grad;
    CHECK(largest_difference(sentence_vectors(*bundle.model, inputs, settings), expected) < 2e-6);
    CHECK(largest_difference(sentence_vectors_by_length(*bundle.model, inputs, settings), expected) < 2e-6);
  }
}

TEST_CASE("sentence settings travel through a batch", "[text][sentence_encoder]") {
  SentenceSettings settings;
  settings.pooling = {"max", "cls", "mean"};
  settings.normalize = false;
  Tensors batch;
  put_settings(settings, batch);
  CHECK(settings_of(batch).pooling == settings.pooling);
  CHECK_FALSE(settings_of(batch).normalize);
}

TEST_CASE("sentence settings: defaults, options, hostile folders", "[text][sentence_encoder]") {
  const Scratch folder;
  Bundle bundle = filled_bundle(folder, Json::object());
  auto settings = sentence_settings(bundle, Json::object());
  CHECK(settings.pooling == std::vector<std::string>{"mean"});
  CHECK(settings.normalize);
  CHECK(settings.max_length == 40);
  CHECK_THAT(settings.origin, ContainsSubstring("no modules.json"));
  settings = sentence_settings(bundle, {{"pooling", "cls,max"}, {"normalize", false}, {"max_length", 8}, {"prompt", "query : "}});
  CHECK(settings.pooling == std::vector<std::string>{"cls", "max"});
  CHECK_FALSE(settings.normalize);
  CHECK(settings.max_length == 8);
  CHECK(prepare_sentence("A", settings) == "query : A");
  settings.lower_case = true;
  CHECK(prepare_sentence("\xC3\x84" "B", settings) == "query : \xC3\xA4" "b");
  CHECK_THROWS_WITH(sentence_settings(bundle, {{"pooling", "men"}}), ContainsSubstring("nearest: mean"));
  CHECK_THROWS_AS(sentence_settings(bundle, {{"max_length", 41}}), UsageError);
  CHECK_THROWS_AS(sentence_settings(bundle, {{"normalize", "perhaps"}}), UsageError);
  CHECK_THROWS_AS(sentence_settings(bundle, {{"prompt_name", "query"}}), UsageError);

  folder.write("modules.json", R"([{"type": "sentence_transformers.models.Pooling", "path": "../../etc"}])");
  CHECK_THROWS_WITH(sentence_settings(bundle, Json::object()), ContainsSubstring("leaves the checkpoint folder"));
  folder.write("modules.json", R"([{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}])");
  CHECK_THROWS_WITH(sentence_settings(bundle, Json::object()), ContainsSubstring("module Dense is not supported"));
  folder.write("modules.json", R"({"type": 3})");
  CHECK_THROWS_WITH(sentence_settings(bundle, Json::object()), ContainsSubstring("not a JSON list"));
  folder.write("modules.json", R"([{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}])");
  folder.write("1_Pooling/config.json", R"({"pooling_mode": "medium"})");
  CHECK_THROWS_WITH(sentence_settings(bundle, Json::object()), ContainsSubstring("pooling 'medium' is unknown"));
  CHECK(sentence_encoder_files(folder.path()) == std::vector<fs::path>{"modules.json", "1_Pooling/config.json"});
}

TEST_CASE("sentence losses and their gradients equal the references'", "[text][sentence_losses]") {
  const auto& expected = reference().at("losses");
  const auto make = [](const char* name) {
    return weights::fill_values(name, {6, 8}, 1).set_requires_grad(true);
  };
  const Tensors batch = {{"labels", at::tensor(expected.at("labels").get<std::vector<double>>(), at::kDouble)},
                         {"groups", at::tensor(expected.at("groups").get<std::vector<int64_t>>(), at::kLong)}};
  for (const auto& name : sentence_loss_names()) {
    INFO(name);
    const auto first = make("first"), second = make("second");
    const auto loss = sentence_loss({{"first", first}, {"second", second}}, batch, {{"loss", name}});
    const auto& known = expected.at("results").at(name);
    CHECK(loss.item<double>() == Approx(known.at("value").get<double>()).epsilon(1e-9));
    loss.backward();
    CHECK(largest_difference(first.grad(), tensor_of(known.at("first"))) < 1e-9);
    CHECK(largest_difference(second.grad(), tensor_of(known.at("second"))) < 1e-9);
  }
  const auto first = make("first"), second = make("second");
  CHECK_THROWS_WITH(sentence_loss({{"first", first}, {"second", second}}, batch, {{"loss", "cosin"}}), ContainsSubstring("nearest: cosine"));
  CHECK_THROWS_AS(sentence_loss({{"first", first}, {"second", second}}, batch, {{"loss", "multiple_negatives"}, {"scale", -1}}), UsageError);
}

TEST_CASE("contrastive losses of batches without any pair are finite", "[text][sentence_losses]") {
  const auto rows = weights::fill_values("rows", {4, 8}, 2).set_requires_grad(true);
  const auto loss = supervised_contrastive_loss(rows, at::arange(4), 0.07);
  CHECK(loss.item<double>() == 0.0);
  loss.backward();
  CHECK(rows.grad().abs().max().item<double>() == 0.0);
  const auto matches = at::zeros({4}, at::kBool);
  CHECK(std::isfinite(online_contrastive_loss(rows, rows.flip(0), matches, 0.5).item<double>()));
  CHECK(std::isfinite(online_contrastive_loss(rows, rows.flip(0), matches.logical_not(), 0.5).item<double>()));
}

TEST_CASE("correlations equal scipy's, ties included", "[text][correlation]") {
  for (const auto& example : reference().at("correlations")) {
    const auto a = example.at("a").get<std::vector<double>>(), b = example.at("b").get<std::vector<double>>();
    CHECK(average_ranks(a) == example.at("ranks").get<std::vector<double>>());
    CHECK(spearman(a, b) == Approx(example.at("spearman").get<double>()).epsilon(1e-12));
    CHECK(pearson(a, b) == Approx(example.at("pearson").get<double>()).epsilon(1e-12));
  }
  const std::vector<double> constant = {2, 2, 2}, rising = {1, 2, 3}, one = {1};
  CHECK(std::isnan(spearman(constant, rising)));
  CHECK(std::isnan(pearson(one, one)));
  CHECK(std::isnan(spearman(std::vector<double>{1, NAN, 3}, rising)));
  CHECK_THROWS_AS(pearson(one, rising), std::invalid_argument);
}

}  // namespace sentence_encoder_tests
