// zoo verify: the table of proofs.
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "app/bundle.h"
#include "app/cli.h"
#include "app/report/progress.h"
#include "app/report/table.h"
#include "app/resources.h"
#include "app/verify.h"
#include "models/names.h"
#include "models/registry.h"

namespace zoo::app {
namespace verify_command {

struct Options {
  std::vector<std::string> names, fixtures;
  std::string weights, dtype;
  bool all = false;
};

// A registered network without a fixture is a failed proof, not a skipped one.
Proof unproven(const std::string& name, const std::filesystem::path& folder) {
  Proof proof;
  proof.model = name;
  proof.level = "shape";
  proof.problems.push_back("no fixture named " + name + ".*.safetensors in " + folder.string());
  return proof;
}

std::vector<Proof> prove(const Options& options, at::Device device) {
  std::vector<Proof> proofs;
  std::vector<std::filesystem::path> files(options.fixtures.begin(), options.fixtures.end());
  std::vector<std::string> networks;
  for (const auto& name : options.names) networks.push_back(find_entry(name).name);
  if (options.all) {
    for (const auto& entry : registry()) networks.push_back(entry.name);
  }
  const std::filesystem::path folder = networks.empty() ? std::filesystem::path() : resource("fixtures");
  for (const auto& name : networks) {
    const auto found = fixture_files(folder, name);
    if (found.empty()) proofs.push_back(unproven(name, folder));
    files.insert(files.end(), found.begin(), found.end());
  }
  Progress progress("verify", int64_t(files.size()), "fixtures");
  for (const auto& file : files) {
    proofs.push_back(verify_fixture(file, options.weights, device, options.dtype));
    progress.add(1, proofs.back().fixture);
  }
  return proofs;
}

std::string number(const char* format, double value) {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

void print_table(const std::vector<Proof>& proofs) {
  Table table({{"network"}, {"fixture"}, {"level"}, {"keys", true}, {"parameters", true}, {"tensors", true}, {"max abs", true},
               {"max rel", true}, {"first divergence"}, {"result"}});
  for (const auto& p : proofs) {
    table.add({p.model, p.fixture, p.level, std::to_string(p.keys), std::to_string(p.parameters), std::to_string(p.tensors),
               number("%.1e", p.max_abs_error), number("%.1e", p.max_rel_error),
               p.first_divergence.empty() ? "none" : p.first_divergence, p.passed ? "passed" : "FAILED"});
  }
  std::cout << table.text();
  for (const auto& p : proofs) {
    for (const auto& text : p.problems) std::cout << "  " << p.fixture << ": " << text << "\n";
    if (!p.not_compared.empty()) std::cout << "  " << p.fixture << ": not compared, no counterpart here: " << join(p.not_compared) << "\n";
  }
}

int run(const Options& options, const Common& common) {
  if (options.names.empty() && options.fixtures.empty() && !options.all) {
    throw UsageError("verify: name networks, or --all, or --fixture FILE");
  }
  for (const auto& file : options.fixtures) {
    if (!std::filesystem::exists(file)) throw UsageError("verify: no fixture file '" + file + "'");
  }
  const at::Device device = common.resolved_device();
  auto types = dtype_names();
  std::erase(types, "int4-weights");  // four bits change the fixtures' small networks by as much as their outputs: that proves nothing
  if (!options.dtype.empty() && std::find(types.begin(), types.end(), options.dtype) == types.end()) {
    throw UsageError("verify: --dtype is '" + options.dtype + "'; expected one of " + join(types));
  }
  const auto proofs = prove(options, device);
  int64_t verified = 0;
  Json models = Json::array();
  for (const auto& proof : proofs) {
    verified += proof.passed;
    models.push_back(proof.json());
  }
  const int64_t failed = int64_t(proofs.size()) - verified;
  const std::string dtype = options.dtype.empty() ? "float32" : options.dtype;
  if (common.json) {
    print_json({{"verified", verified}, {"failed", failed}, {"device", device.str()}, {"dtype", dtype}, {"models", models}});
  } else {
    print_table(proofs);
    std::cout << verified << " verified, " << failed << " failed (" << dtype << " on " << device.str() << ", " << at::get_num_threads() << " threads)\n";
  }
  return failed == 0 ? 0 : 1;
}

Action declare(CLI::App& command, Common& common) {
  auto options = std::make_shared<Options>();
  command.add_option("name", options->names, "networks to prove");
  command.add_flag("--all", options->all, "every network of the registry");
  command.add_option("--fixture", options->fixtures, "a fixture file, wherever it lies (repeatable)");
  command.add_option("--weights", options->weights, "checkpoint folder, for a fixture written with published weights");
  command.add_option("--dtype", options->dtype, "as inference runs in float32, bfloat16, float16, int8 or int8-weights: outputs alone, off by no more than "
                                                "that rounding explains (default: float32 as in training, intermediates and gradients included)");
  return [options, &common] { return run(*options, common); };
}

}  // namespace verify_command

Verb verify_verb() {
  return {"verify", "re-run the proof that a network equals its reference implementation",
          "  zoo verify --all\n"
          "  zoo verify bert vit --json\n"
          "  zoo verify --all --dtype bfloat16\n"
          "  zoo verify --fixture tests/fixtures/bert.safetensors\n"
          "  zoo verify --fixture tests/fixtures/checkpoints/minilm.safetensors --weights ~/.cache/zoo/minilm\n",
          verify_command::declare};
}

}  // namespace zoo::app
