#include "app/engine/seeds.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "app/cli.h"
#include "app/files.h"
#include "app/report/figures.h"
#include "app/report/table.h"
#include "weights/files.h"

namespace zoo::app {
namespace seeds_detail {
namespace fs = std::filesystem;

std::string name_of(uint64_t seed) { return "seed-" + std::to_string(seed); }

[[noreturn]] void wrong(const std::string& text) {
  throw UsageError("--seeds is '" + text.substr(0, 80) + "'; expected whole numbers, each once, such as 1,2,3 or 1-5 (at most 1000)");
}

uint64_t whole(const std::string& word, const std::string& text) {
  if (word.empty() || word.size() > 18 || word.find_first_not_of("0123456789") != std::string::npos) wrong(text);
  return std::stoull(word);
}

std::string listed(const std::vector<uint64_t>& seeds) {
  std::string text;
  for (const uint64_t seed : seeds) text += (text.empty() ? "" : ",") + std::to_string(seed);
  return text;
}

// The same recipe and all of its seeds, or more.
void check_resumed(const SeedSeries& series, const fs::path& out) {
  if (RunFolder::begun(out)) throw UsageError("--resume " + out.string() + ": holds one training, not those of several seeds (leave --seeds away)");
  if (!SeedSeries::begun(out)) return;
  SeedSeries begun = SeedSeries::read(out);
  for (const uint64_t seed : begun.seeds) {
    if (std::find(series.seeds.begin(), series.seeds.end(), seed) != series.seeds.end()) continue;
    throw UsageError("--seeds is " + listed(series.seeds) + ", but the training in " + out.string() + " was begun with " + listed(begun.seeds) +
                     " (leave --seeds away to go on with these, or name more)");
  }
  begun.recipe.seed = series.recipe.seed;
  std::string text;
  for (const auto& line : recipe_differences(begun.recipe, series.recipe)) text += "\n  " + line;
  if (!text.empty()) throw UsageError("--resume " + out.string() + ": the recipe is not the one that was begun there:" + text +
                                      "\n(resume without a recipe, which takes the one that was begun)");
}

// Fresh: nothing there. Overwrite: nothing but what an earlier such training wrote.
void check_folder(const fs::path& out, RunFolder::Start start) {
  std::error_code error;
  if (!fs::exists(out, error) || start == RunFolder::Start::resume) return;
  if (!fs::is_directory(out, error)) throw UsageError(out.string() + " is a file; expected a folder for the runs of all seeds");
  for (const auto& item : fs::directory_iterator(out)) {
    const std::string name = item.path().filename().string();
    const bool ours = name == "summary.json" || name == "seeds.json" || name.starts_with("seed-");
    if (start == RunFolder::Start::fresh) throw UsageError(out.string() + " is not empty (--resume goes on with its seeds, --overwrite replaces them)");
    if (!ours) throw UsageError(out.string() + " holds " + name + ", which no training with --seeds wrote; --overwrite does not remove it");
  }
}

// Mean and deviation of every figure over the runs that have it.
Json figures_over(const Json& runs) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<double>> values;
  for (const auto& run : runs) {
    const std::string again = run.value("evaluated_on", std::string()) + ".";  // the same figures once more, under their split's name
    for (const auto& [metric, value] : flat_figures(run.value("metrics", Json()))) {
      if (metric.starts_with(again)) continue;
      if (values[metric].empty()) order.push_back(metric);
      values[metric].push_back(value);
    }
  }
  Json figures = Json::object();
  for (const auto& metric : order) {
    const Spread over = spread(values[metric]);
    figures[metric] = {{"mean", over.mean}, {"deviation", over.count > 1 ? Json(over.deviation) : Json(nullptr)}, {"values", values[metric]}};
  }
  return figures;
}

Json summary_of(const fs::path& out, const std::vector<uint64_t>& seeds, const Json& runs) {
  const auto count = [&](const char* key) { return std::count_if(runs.begin(), runs.end(), [&](const Json& run) { return run.contains(key); }); };
  return {{"out", out.string()}, {"seeds", seeds}, {"finished", count("metrics")}, {"failed", count("error")}, {"metrics", figures_over(runs)}, {"runs", runs}};
}

void save(const fs::path& out, const Json& summary) {
  fs::create_directories(out);
  weights::write_file_atomically(out / "summary.json", summary.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

// Before the first seed begins, so that whatever ends it can be resumed.
void remember(const SeedSeries& series, const fs::path& out) {
  fs::create_directories(out);
  const Json json = {{"seeds", series.seeds}, {"processes", series.processes}, {"recipe", write_recipe(series.recipe)}};
  weights::write_file_atomically(out / "seeds.json", json.dump(2) + "\n");
}

// A recipe that cannot be begun leaves nothing: the folder is free for a better one.
void forget_unbegun(const fs::path& out) {
  std::error_code ignored;
  for (const auto& item : fs::directory_iterator(out, ignored))
    if (item.path().filename() != "seeds.json") return;
  remove_tree(out, ignored);
}

}  // namespace seeds_detail

bool SeedSeries::begun(const std::filesystem::path& out) { return on_disk(out / "seeds.json"); }

SeedSeries SeedSeries::read(const std::filesystem::path& out) {
  const auto path = out / "seeds.json";
  try {
    const Json json = read_json(path);
    SeedSeries series{read_recipe(json.at("recipe")), json.at("seeds").get<std::vector<uint64_t>>(), json.at("processes").get<int>()};
    if (series.processes < 1) throw UsageError("processes is " + std::to_string(series.processes));
    return series;
  } catch (const std::exception& error) {
    throw UsageError(path.string() + ": is not what zoo train --seeds writes (" + error.what() + "); remove it and give --resume the recipe");
  }
}

std::vector<uint64_t> parse_seeds(const std::string& text) {
  namespace d = seeds_detail;
  constexpr size_t kMost = 1000;
  std::vector<uint64_t> seeds;
  std::istringstream words(text + ",");
  for (std::string word; std::getline(words, word, ',');) {
    const auto dash = word.find('-');
    const uint64_t first = d::whole(word.substr(0, dash), text), last = dash == std::string::npos ? first : d::whole(word.substr(dash + 1), text);
    if (last < first || last - first >= kMost) d::wrong(text);
    for (uint64_t seed = first; seed <= last; ++seed) {
      if (std::find(seeds.begin(), seeds.end(), seed) != seeds.end()) d::wrong(text);
      seeds.push_back(seed);
    }
    if (seeds.size() > kMost) d::wrong(text);
  }
  return seeds;
}

TrainingResult train_seed(Recipe recipe, uint64_t seed, const std::filesystem::path& out, RunFolder::Start start, const TrainOnce& train_once) {
  const auto folder = out / seeds_detail::name_of(seed);
  recipe.seed = seed;
  if (start == RunFolder::Start::overwrite && !on_disk(folder)) start = RunFolder::Start::fresh;
  return train_once(recipe, folder, start);
}

TrainingResult train_seeds(const SeedSeries& series, const std::filesystem::path& out, RunFolder::Start start, const TrainOnce& train_once) {
  namespace d = seeds_detail;
  d::check_folder(out, start);
  if (start == RunFolder::Start::resume) d::check_resumed(series, out);
  d::remember(series, out);
  Json runs = Json::array();
  TrainingResult result;
  for (const uint64_t seed : series.seeds) {
    Json run = {{"seed", seed}, {"out", (out / d::name_of(seed)).string()}};
    spdlog::info("seed {}: {} of {}", seed, runs.size() + 1, series.seeds.size());
    try {
      const TrainingResult one = train_seed(series.recipe, seed, out, start, train_once);
      result.interrupted = one.interrupted;
      run.update(one.json);
    } catch (const UsageError&) {
      d::forget_unbegun(out);
      throw;  // the recipe is wrong, not this seed
    } catch (const std::exception& error) {
      spdlog::error("seed {}: {}", seed, error.what());
      run["error"] = error.what();
    }
    runs.push_back(std::move(run));
    result.json = d::summary_of(out, series.seeds, runs);
    d::save(out, result.json);
    if (result.interrupted) break;
  }
  if (result.interrupted) {
    result.json["steps"] = runs.back().value("steps", int64_t{0});
    result.json["resume"] = "zoo train --resume " + out.string();
  }
  return result;
}

std::string seeds_table(const Json& summary) {
  std::vector<Column> columns{{"figure"}, {"mean", true}, {"deviation", true}};
  for (const auto& run : summary.at("runs")) {
    if (run.contains("metrics")) columns.push_back({"seed " + run.at("seed").dump(), true});
  }
  Table table(columns);
  for (const auto& [metric, values] : summary.at("metrics").items()) {
    const Spread over = spread(values.at("values").get<std::vector<double>>());
    std::vector<std::string> row{metric, figure_text(over.mean), deviation_text(over)};
    for (const auto& run : summary.at("runs")) {
      if (!run.contains("metrics")) continue;
      const auto value = figure(run.at("metrics"), metric);
      row.push_back(value ? figure_text(*value) : "");
    }
    table.add(std::move(row));
  }
  return table.text();
}

}  // namespace zoo::app
