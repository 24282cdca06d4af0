// Generation against transformers' generate(): the ids of every case that tests/reference/generation.py wrote.
#include <filesystem>
#include <set>

#include "app/engine/generation.h"
#include "app/files.h"
#include "models/registry.h"
#include "tests/catch.h"
#include "tests/models.h"
#include "weights/fill.h"

using namespace zoo;

namespace generation_parity {

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
  x["mask"][1].narrow(0, from, 3).fill_(false);
  x["tokens"][1].narrow(0, from, 3).fill_(pad);
  return x;
}

}  // namespace generation_parity

TEST_CASE("generation writes the reference's ids", "[parity][generation]") {
  std::set<std::string> networks, chosen, expected;
  for (const auto& entry : test::chosen_networks()) chosen.insert(entry.name);
  for (const char* name : {"bart", "encoder_decoder", "gpt2", "t5"}) {
    if (chosen.count(name)) expected.insert(name);
  }
  for (const auto& item : std::filesystem::directory_iterator(std::filesystem::path(ZOO_TEST_DIR) / "fixtures" / "generation")) {
    const std::string file = item.path().filename().string(), network = file.substr(0, file.find('.'));  // NETWORK.json, NETWORK.CASE.json
    if (!chosen.count(network)) continue;
    const Json document = app::read_json(item.path());
    const auto model = generation_parity::filled(document);
    networks.insert(network);
    CHECK(document.at("cases").size() >= 300);
    for (const Json& one : document.at("cases")) {
      INFO(item.path().filename().string() << " seed " << one.at("seed") << " " << one.at("options").dump());
      Json wanted = one.at("options");
      wanted["max_new_tokens"] = document.at("max_new_tokens");
      const auto options = app::generation_options(document.at("config"), {}, wanted);
      const auto results = app::generate(*model, generation_parity::inputs(one, document), options);
      size_t row = 0;
      for (const auto& best : results) {
        REQUIRE(best.size() == static_cast<size_t>(options.num_return_sequences));
        for (const auto& result : best) {
          const auto reference = one.at("sequences").at(row).get<std::vector<int64_t>>();  // start token or prompt, ids, filling
          const int64_t begin = document.value("prompt", 1), end = begin + static_cast<int64_t>(result.ids.size());
          REQUIRE(static_cast<int64_t>(reference.size()) >= end);
          CHECK(std::vector<int64_t>(reference.begin() + begin, reference.begin() + end) == result.ids);
          for (auto filling = reference.begin() + end; filling != reference.end(); ++filling) {
            CHECK((*filling == options.pad || std::count(options.eos.begin(), options.eos.end(), *filling) > 0));
          }
          if (options.num_beams > 1) CHECK(result.score == Approx(one.at("scores").at(row).get<double>()).epsilon(1e-4).margin(1e-5));
          ++row;
        }
      }
      CHECK(row == one.at("sequences").size());
    }
  }
  CHECK(networks == expected);
}
