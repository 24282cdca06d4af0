// zoo train: carries out a recipe.
#include <ATen/Parallel.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include <iostream>

#include "app/cli.h"
#include "app/engine/checkpoints.h"
#include "app/engine/launcher.h"
#include "app/engine/ranks.h"
#include "app/engine/seeds.h"
#include "app/engine/trainer.h"
#include "app/files.h"
#include "app/machine.h"
#include "app/report/baselines.h"
#include "app/report/progress.h"
#include "app/report/table.h"
#include "app/resources.h"

namespace zoo::app {
namespace train_detail {

constexpr const char* kExamples =
    "  zoo train recipes/fashion_mnist_cct.json --out runs/fashion\n"
    "  zoo train recipes/fashion_mnist_cct.json --set epochs=3 --set optimizer.lr=5e-4 --out runs/short\n"
    "  zoo train --model vit:tiny --task image_classification --data photos/ --epochs 5 --lr 1e-3 --out runs/photos\n"
    "  zoo train --resume runs/fashion\n"
    "  zoo train recipes/fashion_mnist_cct.json --seeds 1,2,3 --out runs/fashion_seeds     (to go on: --resume runs/fashion_seeds)\n"
    "  zoo train --model my_checkpoint/ --task text_classification --data reviews/ --reinit-head --out runs/reviews\n";

// A plain flag and the recipe key that it sets.
struct Flag {
  const char *option, *key, *help;
};
constexpr Flag kFlags[] = {
    {"--model", "model", "checkpoint folder, or name:variant for fresh weights (zoo list)"},
    {"--task", "task", "what to learn, e.g. image_classification"},
    {"--data", "data", "folder or file to learn from"},
    {"--tokenizer", "tokenizer", "for fresh weights: folder or file of a tokenizer, or {\"train\": \"unigram\", \"vocab_size\": 8000} to make one"},
    {"--eval-data", "eval_data", "folder or file for the measurement at the end (default: --data)"},
    {"--eval-split", "eval_split", "its split (default: test, if there is one)"},
    {"--validation-split", "validation_split", "split that chooses the checkpoint"},
    {"--validation-share", "validation_share", "share of the training examples that chooses the checkpoint"},
    {"--epochs", "epochs", "passes over the data"},
    {"--batch-size", "batch_size", "examples in a step"},
    {"--accumulate", "accumulate", "batches whose gradients make one step"},
    {"--max-steps", "max_steps", "stop after so many steps"},
    {"--max-minutes", "max_minutes", "stop after so many minutes"},
    {"--optimizer", "optimizer.name", "adamw, adam, sgd, adafactor or lion"},
    {"--lr", "optimizer.lr", "peak learning rate"},
    {"--weight-decay", "optimizer.weight_decay", "on tensors of two or more axes"},
    {"--schedule", "schedule.name", "constant, linear, cosine, cosine_restarts, polynomial, wsd, step, exponential, inverse_sqrt, one_cycle or plateau"},
    {"--warmup-share", "schedule.warmup_share", "share of the steps in which the rate rises"},
    {"--clip-norm", "clip_norm", "limit of the gradients' norm; 0: none"},
    {"--label-smoothing", "label_smoothing", "0 to below 1"},
    {"--workers", "workers", "threads that prepare batches"},
};

struct Arguments {
  std::string recipe, out, resume, seeds;
  std::vector<std::string> assignments;
  std::map<std::string, std::string> flags;
  bool overwrite = false, reinit_head = false, graphs = true;
  int processes = 1;
};

// Without a recipe of its own, --resume takes the one in the run's folder.
Json starting_recipe(const Arguments& arguments) {
  if (!arguments.recipe.empty()) return load_recipe_file(find_recipe(arguments.recipe));
  if (!arguments.resume.empty() && RunFolder::begun(arguments.resume)) return load_recipe_file(std::filesystem::path(arguments.resume) / "recipe.json");
  if (!arguments.resume.empty() && SeedSeries::begun(arguments.resume)) return write_recipe(SeedSeries::read(arguments.resume).recipe);
  return Json::object();
}

Json assemble(const Arguments& arguments, const CLI::App& command, const Common& common) {
  Json json = starting_recipe(arguments);
  for (const auto& flag : kFlags) {
    const auto& value = arguments.flags.at(flag.option);
    if (!value.empty()) set_in_recipe(json, std::string(flag.key) + "=" + value);
  }
  if (arguments.reinit_head) json["reinit_head"] = true;
  if (!arguments.graphs) json["graphs"] = false;
  for (const auto& assignment : arguments.assignments) set_in_recipe(json, assignment);
  const auto* seed = command.get_option_no_throw("--seed");
  if (seed && seed->count() > 0) json["seed"] = common.seed;
  return json;
}

void print_summary(const Json& result) {
  for (const auto& [name, value] : result.at("metrics").items()) {
    if (value.is_number()) std::cout << name << "  " << (value.is_number_float() ? fixed_text(value.get<double>(), 4) : value.dump()) << "\n";
  }
  const std::string out = result.at("out");
  std::cout << baselines_text(result.at("metrics")) << "measured on  " << result.at("evaluated_on").get<std::string>() << "\ntraining took  " << duration_text(result.at("seconds").get<double>())
            << "\ncheckpoint  " << out << "\nreport  " << out << "/report.html\n";
}

void print_seeds(const Json& summary) {
  std::cout << seeds_table(summary) << summary.at("finished") << " of " << summary.at("seeds").size() << " seeds, in "
            << summary.at("out").get<std::string>() << "/summary.json\n";
}

// --resume names the run's folder; --out may repeat it.
std::string folder_of(const Arguments& arguments) {
  const std::string& out = arguments.resume.empty() ? arguments.out : arguments.resume;
  if (out.empty()) throw UsageError("--out is missing: the folder for the trained checkpoint");
  if (!arguments.resume.empty() && arguments.overwrite) throw UsageError("--resume goes on with a run and --overwrite replaces it: give one of them");
  if (!arguments.resume.empty() && !arguments.out.empty() &&
      std::filesystem::weakly_canonical(arguments.out) != std::filesystem::weakly_canonical(arguments.resume)) {
    throw UsageError("--resume " + arguments.resume + " and --out " + arguments.out + " differ: a run goes on in its own folder");
  }
  return out;
}

void check_processes(int processes, bool seeds, const std::optional<Place>& place) {
  if (!place) return;
  if (seeds && place->launcher != "zoo") {
    throw UsageError("--seeds starts the processes of each seed itself (--processes N), but " + place->launcher +
                     " has started these: give each seed a run of its own there (--seed and --out)");
  }
  if (processes > 1 && place->size != processes) {
    throw UsageError("--processes " + std::to_string(processes) + ", but " + place->launcher + " has started " + std::to_string(place->size) +
                     ": with a launcher, leave --processes away");
  }
}

// The seeds that were asked for, or that the folder to resume was begun with; none: one training.
std::vector<uint64_t> seeds_of(const Arguments& arguments) {
  if (!arguments.seeds.empty()) return parse_seeds(arguments.seeds);
  const bool begun = !arguments.resume.empty() && !RunFolder::begun(arguments.resume) && SeedSeries::begun(arguments.resume);
  return begun ? SeedSeries::read(arguments.resume).seeds : std::vector<uint64_t>();
}

// Several seeds go on with as many processes as they were begun with: their batches would be others.
int processes_of(const Arguments& arguments, const CLI::App& command) {
  if (arguments.resume.empty() || !SeedSeries::begun(arguments.resume)) return arguments.processes;
  const int begun = SeedSeries::read(arguments.resume).processes;
  if (command.get_option("--processes")->count() > 0 && arguments.processes != begun) {
    throw UsageError("--processes is " + std::to_string(arguments.processes) + ", but the training in " + arguments.resume + " was begun with " +
                     std::to_string(begun) + ": its batches would be others (leave --processes away)");
  }
  return begun;
}

// One of several processes: the first of them talks, and those of one machine share its cores.
Place prepare(const Place& place, const Common& common) {
  if (place.rank > 0) {
    if (!std::freopen("/dev/null", "w", stdout)) throw std::runtime_error("/dev/null cannot be opened");
    if (spdlog::get_level() < spdlog::level::err) spdlog::set_level(spdlog::level::err);
    Progress::set_quiet(true);
  }
  if (place.local_size > 1 && common.threads == 0 && !std::getenv("OMP_NUM_THREADS")) {
    at::set_num_threads(std::max(1, physical_cores() / place.local_size));
  }
  return place;
}

// Of a process that works for one of several seeds.
constexpr const char* kSeedVariable = "ZOO_LAUNCHED_SEED";

std::optional<uint64_t> launched_seed(const std::optional<Place>& place) {
  const char* seed = place && place->launcher == "zoo" ? std::getenv(kSeedVariable) : nullptr;
  return seed ? std::optional(parse_seeds(seed).front()) : std::nullopt;
}

// One seed in processes of its own, which read this command line again.
TrainingResult launch_seed(const Recipe& recipe, const std::filesystem::path& folder, RunFolder::Start start, int processes) {
  if (start == RunFolder::Start::resume && RunFolder::finished(folder)) return train(recipe, folder, at::kCPU, start);  // only looks
  const Launched ended = launch_processes(processes, {{kSeedVariable, std::to_string(recipe.seed)}});
  if (ended.code == 0) return {read_json(folder / "results.json"), ended.interrupted};
  if (ended.interrupted) {
    const auto saved = list_checkpoints(folder);
    const int64_t steps = saved.empty() ? 0 : std::stoll(saved.back().filename().string().substr(5));  // step-00000120
    return {{{"interrupted", true}, {"steps", steps}}, true};
  }
  const std::string what = "its processes ended with exit code " + std::to_string(ended.code) + " (what they said stands above)";
  if (ended.code == 2) throw UsageError("seed " + std::to_string(recipe.seed) + ": " + what);
  throw std::runtime_error(what);
}

int report(const TrainingResult& result, const Common& common) {
  const bool several = result.json.contains("seeds");
  if (common.json) print_json(result.json);
  else if (several) print_seeds(result.json);
  else if (!result.interrupted) print_summary(result.json);
  if (!result.interrupted) return result.json.value("failed", 0) > 0 ? 1 : 0;
  spdlog::error("interrupted after step {}{}; to go on: {}", result.json.at("steps").get<int64_t>(),
                several ? " of seed " + result.json.at("runs").back().at("seed").dump() : "", result.json.at("resume").get<std::string>());
  return 1;
}

void refuse_unbegun(const Arguments& arguments, const std::string& out) {
  if (arguments.resume.empty() || !arguments.recipe.empty() || !arguments.flags.at("--model").empty()) return;
  if (RunFolder::begun(out) || SeedSeries::begun(out)) return;
  throw UsageError("--resume " + out + ": no training was begun there (no recipe.json, and no seeds.json of several seeds); give the recipe to begin one");
}

int run(const Arguments& arguments, const CLI::App& command, const Common& common) {
  const std::string out = folder_of(arguments);
  refuse_unbegun(arguments, out);
  const Recipe recipe = read_recipe(assemble(arguments, command, common));
  const auto start = !arguments.resume.empty() ? RunFolder::Start::resume : arguments.overwrite ? RunFolder::Start::overwrite : RunFolder::Start::fresh;
  const auto place = place_from_environment();
  const SeedSeries series{recipe, seeds_of(arguments), processes_of(arguments, command)};
  check_processes(series.processes, !series.seeds.empty(), place);
  if (series.processes > 1 && !place) {
    if (start == RunFolder::Start::resume) require_begun_recipe(recipe, out);  // told once, not by every process
    if (series.seeds.empty()) return launch_processes(series.processes).code;
    return report(train_seeds(series, out, start, [&](const auto&... of_seed) { return launch_seed(of_seed..., series.processes); }), common);
  }
  const auto ranks = place ? std::make_unique<Ranks>(prepare(*place, common)) : std::make_unique<Ranks>();
  const auto device = ranks->device(common.resolved_device());
  const auto once = [&](const Recipe& one, const std::filesystem::path& folder, RunFolder::Start how) { return train(one, folder, device, how, *ranks); };
  if (const auto seed = launched_seed(place)) return train_seed(recipe, *seed, out, start, once).interrupted ? 1 : 0;
  const auto result = series.seeds.empty() ? once(recipe, out, start) : train_seeds(series, out, start, once);
  if (!ranks->first()) return result.interrupted ? 1 : 0;
  return report(result, common);
}

Action declare(CLI::App& command, Common& common) {
  auto arguments = std::make_shared<Arguments>();
  command.add_option("recipe", arguments->recipe, "recipe file (docs/training.md); the options below go before it");
  command.add_option("--out", arguments->out, "folder for checkpoint, log and report");
  command.add_option("--resume", arguments->resume, "folder of a run that was stopped or killed: goes on where it was");
  command.add_option("--set", arguments->assignments, "key=value put over the recipe, e.g. optimizer.lr=1e-3")->expected(1)->take_all();
  command.add_option("--seeds", arguments->seeds, "1,2,3 or 1-3: trains once with each, in OUT/seed-1 ..., and tells mean and deviation");
  for (const auto& flag : kFlags) command.add_option(flag.option, arguments->flags[flag.option], flag.help);
  command.add_option("--processes", arguments->processes, "so many processes of this machine share the work; each takes --batch-size examples a step")
      ->check(CLI::Range(1, 1024));
  command.add_flag("--reinit-head", arguments->reinit_head, "start the head afresh when the data has other classes");
  command.add_flag("!--no-graphs", arguments->graphs, "on a GPU: launch every kernel anew instead of replaying steps as a CUDA graph");
  command.add_flag("--overwrite", arguments->overwrite, "replace an earlier checkpoint in --out");
  return [arguments, &command, &common] { return run(*arguments, command, common); };
}

}  // namespace train_detail

Verb train_verb() {
  return {"train", "train or fine-tune a network by a recipe", train_detail::kExamples, train_detail::declare};
}

}  // namespace zoo::app
