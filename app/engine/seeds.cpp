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

// Fresh: nothing there. Overwrite: nothing but what an earlier such training wrote.
void check_folder(const fs::path& out, RunFolder::Start start) {
  std::error_code error;
  if (!fs::exists(out, error) || start == RunFolder::Start::resume) return;
  if (!fs::is_directory(out, error)) throw UsageError(out.string() + " is a file; expected a folder for the runs of all seeds");
  for (const auto& item : fs::directory_iterator(out)) {
    const std::string name = item.path().filename().string();
    const bool ours = name == "summary.json" || name.starts_with("seed-");
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

// A seed whose folder is there goes on, or is finished already; train() knows.
TrainingResult one_seed(Recipe recipe, uint64_t seed, const fs::path& folder, RunFolder::Start start, const TrainOnce& train_once) {
  recipe.seed = seed;
  if (start == RunFolder::Start::overwrite && !on_disk(folder)) start = RunFolder::Start::fresh;
  return train_once(recipe, folder, start);
}

}  // namespace seeds_detail

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

TrainingResult train_seeds(const Recipe& recipe, const std::vector<uint64_t>& seeds, const std::filesystem::path& out,
                           RunFolder::Start start, const TrainOnce& train_once) {
  namespace d = seeds_detail;
  d::check_folder(out, start);
  Json runs = Json::array();
  TrainingResult result;
  for (const uint64_t seed : seeds) {
    const auto folder = out / d::name_of(seed);
    Json run = {{"seed", seed}, {"out", folder.string()}};
    spdlog::info("seed {}: {} of {}", seed, runs.size() + 1, seeds.size());
    try {
      const TrainingResult one = d::one_seed(recipe, seed, folder, start, train_once);
      result.interrupted = one.interrupted;
      run.update(one.json);
    } catch (const UsageError&) {
      throw;  // the recipe is wrong, not this seed
    } catch (const std::exception& error) {
      spdlog::error("seed {}: {}", seed, error.what());
      run["error"] = error.what();
    }
    runs.push_back(std::move(run));
    result.json = d::summary_of(out, seeds, runs);
    d::save(out, result.json);
    if (result.interrupted) break;
  }
  if (result.interrupted) {
    result.json["steps"] = runs.back().value("steps", int64_t{0});
    result.json["resume"] = "the same command with --resume " + out.string() + " in place of --out";
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
