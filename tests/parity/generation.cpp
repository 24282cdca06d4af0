// Generation against transformers' generate(): the ids of every case that tests/reference/generation.py wrote.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include "app/engine/generation.h"
#include "app/engine/stop_strings.h"
#include "app/engine/token_scores.h"
#include "app/engine/token_trie.h"
#include "app/files.h"
#include "models/registry.h"
#include "tests/catch.h"
#include "tests/cli/program.h"
#include "tests/models.h"
#include "tokenizers/tokenizer.h"
#include "weights/fill.h"

using namespace zoo;

namespace generation_parity {
namespace fs = std::filesystem;

std::shared_ptr<Model> filled(const Json& document) {
  auto model = make_from_config(document.at("config"));
  model->init_weights();
  std::set<std::string> canonical;
  for (const auto& [key, factor] : document.at("scale").items()) canonical.insert(key);
  weights::fill_module(*model, 0, canonical);
  at::NoGradGuard no_grad;
  for (const auto& [key, factor] : document.at("scale").items()) model->named_parameters()[key].mul_(factor.get<double>());
  model->eval();
  return model;
}

// The second row is shorter: padded on the right for an encoder, on the left where it is itself the beginning of the text.
Tensors inputs(const Json& one, const Json& document) {
  const int64_t from = document.value("prompt", 1) == 1 ? 6 : 0, pad = document.at("config").at("pad_token_id").get<int64_t>();
  Tensors x = {{"tokens", weights::fill_tokens("tokens", {3, 9}, one.at("seed").get<int64_t>(), 3, 90)}, {"mask", at::ones({3, 9}, at::kBool)}};
  if (!document.value("padded", true)) return x;
  x["mask"][1].narrow(0, from, 3).fill_(false);
  x["tokens"][1].narrow(0, from, 3).fill_(pad);
  return x;
}

std::map<std::string, std::shared_ptr<tokenizers::Tokenizer>> tokenizers_of(const Json& document) {
  std::map<std::string, std::shared_ptr<tokenizers::Tokenizer>> found;
  if (!document.contains("tokenizers")) return found;
  const test::Scratch scratch;
  for (const auto& [kind, json] : document.at("tokenizers").items()) found[kind] = tokenizers::load(scratch.write(kind + "/tokenizer.json", json.dump()).parent_path());
  return found;
}

app::GenerationOptions options_of(const Json& one, const Json& document) {
  Json wanted = one.at("options");
  wanted["max_new_tokens"] = document.at("max_new_tokens");
  wanted.erase("prefix");
  wanted.erase("allowed");
  auto options = app::generation_options(document.at("config"), {}, wanted);
  if (one.at("options").contains("prefix")) options.prefix = one.at("options").at("prefix").get<std::vector<int64_t>>();
  if (one.at("options").contains("allowed")) {
    auto trie = std::make_shared<app::TokenTrie>();
    for (const Json& ids : one.at("options").at("allowed")) trie->add(ids.get<std::vector<int64_t>>());
    options.allowed = trie;
  }
  return options;
}

bool is_end(const app::GenerationOptions& options, int64_t id) { return std::count(options.eos.begin(), options.eos.end(), id) > 0; }

// `reference`: start token or prompt, ids, filling.
void check_sequence(const app::Generated& result, const std::vector<int64_t>& reference, int64_t begin, const app::GenerationOptions& options) {
  std::vector<int64_t> ids = result.ids;
  if (options.num_beam_groups > 1 && !ids.empty() && is_end(options, ids.back())) ids.back() = options.eos.front();  // there an end is an end
  const auto end = begin + static_cast<int64_t>(ids.size());
  REQUIRE(static_cast<int64_t>(reference.size()) >= end);
  CHECK(std::vector<int64_t>(reference.begin() + begin, reference.begin() + end) == ids);
  for (auto filling = reference.begin() + end; filling != reference.end(); ++filling) CHECK((*filling == options.pad || is_end(options, *filling)));
}

void check_case(Model& model, const Json& one, const Json& document, const app::GenerationOptions& options) {
  const auto results = app::generate(model, inputs(one, document), options);
  size_t row = 0;
  for (const auto& best : results) {
    for (size_t i = 0; i < static_cast<size_t>(options.num_return_sequences); ++i, ++row) {
      const double score = options.num_beams > 1 ? one.at("scores").at(row).get<double>() : 0.0;
      if (i >= best.size()) {  // nothing more is allowed: the reference's beams that are out
        CHECK(options.allowed);
        CHECK(score < -1e8);
        continue;
      }
      check_sequence(best[i], one.at("sequences").at(row).get<std::vector<int64_t>>(), document.value("prompt", 1), options);
      if (options.num_beams > 1) CHECK(best[i].score == Approx(score).epsilon(1e-4).margin(1e-5));
    }
  }
  CHECK(row == one.at("sequences").size());
}

// The cases of the chosen networks in a folder; how many each network has.
std::map<std::string, size_t> check_folder(const std::string& folder) {
  std::set<std::string> chosen;
  for (const auto& entry : test::chosen_networks()) chosen.insert(entry.name);
  std::map<std::string, size_t> counts;
  std::vector<std::string> names{"bart", "gpt2", "t5"};  // NETWORK or NETWORK.CASE
  if (folder.empty()) names.insert(names.end(), {"encoder_decoder", "encoder_decoder.roberta"});
  for (const auto& name : names) {
    if (!chosen.count(name.substr(0, name.find('.')))) continue;
    const Json document = app::read_json(fs::path(ZOO_TEST_DIR) / "fixtures" / "generation" / folder / (name + ".json"));
    const auto model = filled(document);
    const auto tokenizers = tokenizers_of(document);
    for (const Json& one : document.at("cases")) {
      INFO(folder << " " << name << " seed " << one.at("seed") << " " << one.value("tokenizer", "") << " " << one.at("options").dump());
      auto options = options_of(one, document);
      if (!options.stop_strings.empty()) options.stop = std::make_shared<app::StopStrings>(options.stop_strings, *tokenizers.at(one.at("tokenizer")));
      check_case(*model, one, document, options);
    }
    counts[name] = document.at("cases").size();
  }
  return counts;
}

}  // namespace generation_parity

TEST_CASE("generation writes the reference's ids", "[parity][generation]") {
  for (const auto& [name, count] : generation_parity::check_folder("")) CHECK(count >= 300);
}

TEST_CASE("stop strings end generation where the reference's do", "[parity][generation]") {
  for (const auto& [name, count] : generation_parity::check_folder("stop")) CHECK(count >= 90);
}

TEST_CASE("beam groups write the ids of transformers 4.49", "[parity][generation]") {
  for (const auto& [name, count] : generation_parity::check_folder("groups")) CHECK(count >= 60);
}

TEST_CASE("what sampling leaves of scores is what the reference leaves", "[generation]") {
  const Json document = app::read_json(std::filesystem::path(ZOO_TEST_DIR) / "fixtures" / "generation" / "warpers.json");
  std::vector<at::Tensor> rows;
  for (int64_t row = 0; row < 3; ++row) rows.push_back(weights::fill_values("scores." + std::to_string(row), {60}, 0).to(at::kFloat) * (row == 0 ? 30.0 : row == 1 ? 80.0 : 10.0));
  at::Tensor scores = at::stack(rows);
  scores[1].slice(0, 0, 60, 7).fill_(-INFINITY);
  CHECK(document.at("cases").size() >= 38);
  for (const Json& one : document.at("cases")) {
    INFO(one.at("num_beams") << " beams, " << one.at("options").dump());
    Json wanted = one.at("options");
    wanted.update({{"num_beams", one.at("num_beams")}, {"do_sample", true}});
    if (!wanted.contains("top_k")) wanted["top_k"] = 0;
    const auto options = app::generation_options({}, {}, wanted);
    at::Tensor left = app::warped(scores, options);
    if (options.renormalize_logits) left = left.log_softmax(-1);
    for (int64_t row = 0; row < 3; ++row) {
      const at::Tensor kept = left[row].isfinite().nonzero().flatten();
      const auto ids = one.at("kept").at(static_cast<size_t>(row)).get<std::vector<int64_t>>();
      REQUIRE(std::vector<int64_t>(kept.const_data_ptr<int64_t>(), kept.const_data_ptr<int64_t>() + kept.numel()) == ids);
      const auto expected = one.at("values").at(static_cast<size_t>(row)).get<std::vector<double>>();
      for (size_t i = 0; i < ids.size(); ++i) CHECK(left[row][ids[i]].item<double>() == Approx(expected[i]).margin(2e-5));
    }
  }
}

TEST_CASE("stop strings: characters in parts, and what ended before does not count", "[generation]") {
  const Json document = app::read_json(std::filesystem::path(ZOO_TEST_DIR) / "fixtures" / "generation" / "stop" / "t5.json");
  const auto tokenizers = generation_parity::tokenizers_of(document);
  const auto& bytes = *tokenizers.at("bytes");
  const auto ids = bytes.encode_bare("xé").ids;  // x and two halves
  REQUIRE(ids.size() == 3);
  app::StopStrings accent({"é"}, bytes);
  CHECK_FALSE(accent.completed({ids[0]}, ids[1]));
  CHECK(accent.completed({ids[0], ids[1]}, ids[2]));
  CHECK_FALSE(accent.completed({ids[1], ids[2]}, ids[0]));
  app::StopStrings stop({"stop"}, *tokenizers.at("marks"));
  const auto id = [&](const char* token) { return *tokenizers.at("marks")->token_to_id(token); };
  CHECK(stop.completed({id("st")}, id("op")));
  CHECK(stop.completed({id("las")}, id("topper")));
  CHECK(stop.completed({id("s"), id("to")}, id("ped")));
  CHECK_FALSE(stop.completed({id("st"), id("op")}, id("t")));
  CHECK_THROWS(app::StopStrings({""}, bytes));
}

TEST_CASE("a tree of tokens knows what may follow", "[generation]") {
  app::TokenTrie trie;
  trie.add(std::vector<int64_t>{4, 5, 1});
  trie.add(std::vector<int64_t>{4, 1});
  CHECK(trie.next({}) == std::vector<int64_t>{4});
  CHECK(trie.next(std::vector<int64_t>{4}) == std::vector<int64_t>{1, 5});
  CHECK(trie.next(std::vector<int64_t>{4, 1}).empty());
  CHECK(trie.next(std::vector<int64_t>{9}).empty());
  CHECK(trie.longest() == 3);
}

TEST_CASE("generation options that make no sense are named", "[generation]") {
  const auto message = [](const Json& wanted) {
    try {
      app::generation_options({}, {}, wanted);
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(test::has(message({{"num_beem", 3}}), "nearest: num_beams"));
  CHECK(test::has(message({{"num_beams", 4}, {"num_beam_groups", 3}, {"diversity_penalty", 1.0}}), "a multiple of num_beam_groups, 3"));
  CHECK(test::has(message({{"num_beams", 4}, {"num_beam_groups", 2}}), "diversity_penalty is 0"));
  CHECK(test::has(message({{"num_beams", 4}, {"num_beam_groups", 2}, {"diversity_penalty", 1.0}, {"do_sample", true}}), "neither with do_sample"));
  CHECK(test::has(message({{"exponential_decay_length_penalty", "[5]"}}), "[new tokens, factor]"));
  CHECK(test::has(message({{"sequence_bias", "[[3, 1.0]]"}}), "[[token ids], bias]"));
  CHECK(test::has(message({{"stop_strings", ""}}), "not empty"));
  CHECK(app::generation_options({}, {}, {{"stop_strings", "[\"a\", \"1\"]"}}).stop_strings == std::vector<std::string>{"a", "1"});
  CHECK(app::generation_options({}, {}, {{"stop_strings", 7}}).stop_strings == std::vector<std::string>{"7"});
  CHECK(app::unfollowed_keys({{"num_beams", 2}, {"use_cache", true}, {"guidance_scale", 1.5}, {"max_time", nullptr}, {"force_words_ids", Json::array()},
                              {"no_timestamps_token_id", 5}}) == std::vector<std::string>{"guidance_scale", "no_timestamps_token_id"});
}
