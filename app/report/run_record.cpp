#include "app/report/run_record.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>

#include "app/cli.h"
#include "app/files.h"

namespace zoo::app {
namespace run_record_detail {
namespace fs = std::filesystem;

double number(const Json& line, const char* key) {
  const auto found = line.find(key);
  return found != line.end() && found->is_number() ? found->get<double>() : std::numeric_limits<double>::quiet_NaN();
}

int64_t whole(const Json& line, const char* key) {
  const double value = number(line, key);
  return value >= 0 && value < 9e15 ? static_cast<int64_t>(value) : 0;
}

// Null for what is no JSON object, or nested so deeply that it was made to do harm.
Json parsed(const std::string& text) {
  constexpr int kMaxDepth = 32;
  try {
    Json line = Json::parse(text, [](int depth, Json::parse_event_t, Json&) {
      if (depth > kMaxDepth) throw std::runtime_error("too deep");
      return true;
    });
    return line.is_object() ? line : Json();
  } catch (const std::exception&) {
    return Json();
  }
}

void take(const Json& line, RunRecord& run) {
  if (line.contains("final")) {
    run.metrics = line["final"];
  } else if (line.contains("train_loss")) {
    run.history.epochs.push_back({whole(line, "epoch"), whole(line, "step"), number(line, "train_loss"), number(line, "seconds"),
                                  line.value("validation", Json())});
  } else if (line.contains("loss")) {
    run.history.steps.push_back({whole(line, "step"), number(line, "epoch"), number(line, "loss"), number(line, "lr"),
                                 number(line, "gradient_norm"), number(line, "seconds")});
  }
}

void read_log(const fs::path& file, RunRecord& run) {
  std::ifstream in(file);
  int64_t bad = 0;
  for (std::string text; std::getline(in, text);) {
    const Json line = parsed(text);
    if (!line.is_null()) take(line, run);
    else if (!in.eof() && !text.empty()) ++bad;  // at the end of the file: the line is still being written
  }
  if (bad > 0) spdlog::warn("{}: {} lines are no JSON objects and are left out", file.string(), bad);
}

std::vector<fs::path> seed_folders(const fs::path& folder) {
  std::vector<std::pair<uint64_t, fs::path>> found;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(folder, error)) {
    const std::string name = item.path().filename().string();
    if (name.starts_with("seed-") && on_disk(item.path() / "recipe.json")) found.emplace_back(std::strtoull(name.c_str() + 5, nullptr, 10), item.path());
  }
  std::sort(found.begin(), found.end());
  std::vector<fs::path> folders;
  for (const auto& [seed, path] : found) folders.push_back(path);
  return folders;
}

}  // namespace run_record_detail

RunRecord read_run(const std::filesystem::path& folder) {
  namespace d = run_record_detail;
  if (!on_disk(folder / "recipe.json")) throw UsageError(folder.string() + ": no training was begun there (no recipe.json)");
  RunRecord run;
  run.name = folder.string();
  run.recipe = read_json(folder / "recipe.json");
  if (!run.recipe.is_object()) throw std::runtime_error((folder / "recipe.json").string() + ": is not a JSON object");
  d::read_log(folder / "log.jsonl", run);
  run.written = std::filesystem::last_write_time(folder / (on_disk(folder / "log.jsonl") ? "log.jsonl" : "recipe.json"));
  if (on_disk(folder / "results.json")) run.results = read_json(folder / "results.json");
  if (!run.results.is_object()) run.results = nullptr;
  if (run.finished() && run.metrics.is_null()) run.metrics = run.results.value("metrics", Json());
  const auto& history = run.history;
  if (!history.steps.empty()) run.steps = history.steps.back().step, run.seconds = history.steps.back().seconds;
  if (!history.epochs.empty()) run.steps = std::max(run.steps, history.epochs.back().step);
  if (run.finished()) run.steps = d::whole(run.results, "steps"), run.seconds = d::number(run.results, "seconds");
  if (!std::isfinite(run.seconds)) run.seconds = 0;
  run.history.seconds = run.seconds;
  return run;
}

std::vector<RunRecord> read_runs(const std::vector<std::string>& folders) {
  namespace d = run_record_detail;
  std::vector<RunRecord> runs;
  for (std::filesystem::path folder : folders) {
    if (!folder.has_filename()) folder = folder.parent_path();  // "runs/a/" is "runs/a"
    const auto seeds = on_disk(folder / "recipe.json") ? std::vector<std::filesystem::path>() : d::seed_folders(folder);
    if (seeds.empty()) runs.push_back(read_run(folder));
    for (const auto& seed : seeds) runs.push_back(read_run(seed));
  }
  return runs;
}

}  // namespace zoo::app
