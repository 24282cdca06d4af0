// zoo eval: figures of networks on whole data sets. One of each gives one document; several give a table, keep what they
// measured for another time, and go on when one of them fails.
#include <ATen/Parallel.h>

#include <spdlog/spdlog.h>
#include <torch/version.h>

#include <chrono>
#include <cstdio>
#include <iostream>

#include "app/cli.h"
#include "app/command_options.h"
#include "app/engine/evaluation_cache.h"
#include "app/engine/evaluator.h"
#include "app/engine/place.h"
#include "app/files.h"
#include "app/report/baselines.h"
#include "app/report/evaluation_table.h"
#include "app/report/figures.h"
#include "app/report/progress.h"
#include "app/report/published.h"
#include "app/resources.h"
#include "app/tasks/text_batches.h"
#include "app/tasks/text_scores.h"
#include "data/plain_lines.h"
#include "models/names.h"
#include "models/registry.h"

namespace zoo::app {
namespace eval_command {

namespace fs = std::filesystem;

struct Options {
  std::vector<std::string> specs, data, tables;
  std::string task, split, out, dtype, columns, cache, metrics, hypotheses;
  std::vector<std::string> references;
  std::vector<std::string> words;  // key=value
  std::vector<std::string> adapters;  // DIR or DIR:weight
  int64_t batch_size = 0, limit = 0, max_length = 0, num_beams = 0, max_new_tokens = 0;
  bool overwrite = false, details = false, allow_missing = false, allow_unexpected = false, no_cache = false;
};

struct DataSet {
  std::string name, path;
};

std::string stem_of(const fs::path& path) { return (path.has_filename() ? path : path.parent_path()).stem().string(); }

// PATH, or NAME=PATH where no file is called that.
DataSet data_set(const std::string& word) {
  const auto equals = word.find('=');
  if (on_disk(word) || equals == std::string::npos || equals == 0) return {stem_of(word), word};
  return {word.substr(0, equals), word.substr(equals + 1)};
}

DataOptions data_options(const Options& options) {
  DataOptions result;
  result.split = options.split;
  result.limit = options.limit;
  result.options = parse_assignments(options.words);
  if (!options.columns.empty()) result.options["columns"] = options.columns;
  if (!options.metrics.empty()) result.options["metrics"] = options.metrics;
  for (const auto& [key, count] : {std::pair{"max_length", options.max_length}, {"num_beams", options.num_beams}, {"max_new_tokens", options.max_new_tokens}})
    if (count > 0) result.options[key] = count;
  return result;
}

std::string figures_text(const Json& metrics, const std::string& group = "") {
  std::string text;
  for (const auto& [key, value] : metrics.items()) {
    const std::string name = group + key;
    if (name == "samples" || name == "naive") continue;  // the naive forecasts stand beside the network: baselines_text()
    if (value.is_object()) {
      text += figures_text(value, name + ".");
      continue;
    }
    char number[32] = "undefined";
    if (value.is_number()) std::snprintf(number, sizeof number, "%.5f", value.get<double>());
    text += name + std::string(name.size() < 18 ? 18 - name.size() : 1, ' ') + (value.is_string() ? value.get<std::string>() : number) + "\n";
  }
  return text;
}

struct Network {
  Bundle bundle;
  const Task* task = nullptr;
  double load_seconds = 0;
};

void check_task_options(const Task& task, const Options& options) {
  if (!options.metrics.empty() && task.name() != "seq2seq" && task.name() != "repair")
    throw UsageError("--metrics is for --task seq2seq, repair and score; task " + task.name() + " has its own figures");
  check_options(task, data_options(options).options);
}

Network load(const std::string& spec, const Options& options, const Common& common) {
  const auto start = std::chrono::steady_clock::now();
  BundleOptions wanted;
  wanted.dtype = options.dtype;
  wanted.adapters = options.adapters;
  wanted.allow_missing = options.allow_missing;
  wanted.allow_unexpected = options.allow_unexpected;
  if (!options.task.empty()) {
    check_task_options(find_task(options.task), options);
    wanted.task = find_task(options.task).head();
  }
  Network network{load_bundle(spec, common.resolved_device(), wanted), nullptr, 0};
  network.task = &find_task(options.task.empty() ? network.bundle.task : options.task);
  check_task_options(*network.task, options);
  network.load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return network;
}

// What the paper says of this network, so configured, on this data set. Fresh weights are nobody's.
Json published(const std::string& spec, const std::string& data_name) {
  const fs::path config = fs::path(spec) / "config.json";
  return on_disk(config) ? published_figures(card(entry_of(spec).name), read_json(config), data_name) : Json::object();
}

Json measure(const std::string& spec, Network& network, const DataSet& set, const Options& options, const Common& common) {
  using Clock = std::chrono::steady_clock;
  if (!on_disk(set.path)) throw UsageError("--data " + set.path + ": no such file or folder");
  const auto opening = Clock::now();
  const auto data = network.task->open(set.path, network.bundle, data_options(options));
  const double open_seconds = std::chrono::duration<double>(Clock::now() - opening).count();
  EvaluationOptions how;
  how.batch_size = options.batch_size > 0 ? options.batch_size : data->batch_size();
  how.title = "evaluate";
  const c10::InferenceMode inference;
  const auto evaluation = evaluate(*network.task, network.bundle, *data, how);
  Json document = {{"task", network.task->name()}, {"model", spec}, {"data", set.path}, {"split", data->split()},
                   {"metrics", evaluation.metrics}, {"samples", evaluation.samples}, {"seconds", evaluation.seconds},
                   {"load_seconds", network.load_seconds}, {"open_seconds", open_seconds}, {"batch_size", how.batch_size},
                   {"device", common.resolved_device().str()}, {"threads", at::get_num_threads()}};
  if (options.details) document["details"] = evaluation.details;
  return document;
}

void write_document(const Json& document, const Options& options) {
  if (options.out.empty()) return;
  write_output(options.out, document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n", options.overwrite);
}

// ---- one network, one data set ----

int run_one(const Options& options, const Common& common) {
  const DataSet set = data_set(options.data.front());
  if (!on_disk(set.path)) throw UsageError("--data " + set.path + ": no such file or folder");
  Network network = load(options.specs.front(), options, common);
  Json document = measure(options.specs.front(), network, set, options, common);
  const Json papers = published(options.specs.front(), set.name);
  if (!papers.empty()) document["published"] = papers;
  write_document(document, options);
  if (common.json) {
    print_json(document);
    return 0;
  }
  std::cout << figures_text(document["metrics"]) << baselines_text(document["metrics"]);
  for (const auto& [metric, value] : papers.items()) std::cout << "paper's " << metric << "  " << value << "\n";
  std::cout << document["samples"] << " examples in " << duration_text(document["seconds"].get<double>()) << " (loaded in "
            << duration_text(network.load_seconds) << ")\n";
  return 0;
}

// ---- texts beside references, without a network ----

int run_score(const Options& options, const Common& common) {
  if (options.hypotheses.empty() || options.references.empty()) throw UsageError("--task score needs --hypotheses FILE and --references FILE");
  if (!options.specs.empty() || !options.data.empty()) throw UsageError("--task score takes no network and no --data; with them, --task seq2seq writes the texts first");
  Json wanted = data_options(options).options;
  if (options.metrics.empty()) wanted["metrics"] = "bleu,chrf,rouge,exact_match";
  const TextMetrics names = text_metrics(wanted);
  const auto start = std::chrono::steady_clock::now();
  const metrics::Texts hypotheses = data::read_lines(options.hypotheses, options.limit);
  metrics::References references;
  for (const auto& file : options.references) {
    references.push_back(data::read_lines(file, options.limit));
    if (references.back().size() == hypotheses.size()) continue;
    throw UsageError(options.hypotheses + " has " + std::to_string(hypotheses.size()) + " lines, " + file + " " + std::to_string(references.back().size()) +
                     "; line n of one belongs to line n of the other, so both need as many (empty lines count)");
  }
  if (hypotheses.empty()) throw UsageError(options.hypotheses + ": empty; a text on each line is expected");
  const Json figures = text_figures(names, hypotheses, references);
  const Json document = {{"task", "score"}, {"hypotheses", options.hypotheses}, {"references", options.references}, {"metrics", figures},
                         {"samples", hypotheses.size()}, {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()}};
  write_document(document, options);
  if (common.json) print_json(document);
  else std::cout << figures_text(figures) << hypotheses.size() << " texts\n";
  return 0;
}

// ---- several ----

std::string message_of(const std::exception& error) {
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  const std::string text = torch ? torch->what_without_backtrace() : error.what();
  return text.substr(0, text.find("\nException raised from"));
}

class Many {
 public:
  Many(const Options& options, const Common& common)
      : options_(options), common_(common), cache_(options.cache.empty() ? EvaluationCache::default_folder() : fs::path(options.cache)) {}

  Json run() {
    for (const auto& spec : options_.specs) run_network(spec);
    return {{"results", results_}, {"measured", measured_}, {"cached", cached_}, {"failed", failed_}};
  }

 private:
  // A network is loaded for the first data set whose figures are not known yet; if that fails, all its pairs say so.
  void run_network(const std::string& spec) {
    network_.reset();
    load_error_.clear();
    for (const auto& word : options_.data) {
      const DataSet set = data_set(word);
      Json document;
      try {
        document = pair(spec, set);
        if (Json figures = published(spec, set.name); !figures.empty()) document["published"] = std::move(figures);
        tell(spec, set, document);
      } catch (const std::exception& error) {
        ++failed_;
        document = {{"model", spec}, {"data", set.path}, {"error", message_of(error)}};
        spdlog::error("{} on {}: {}", spec, set.path, message_of(error));
      }
      document["data_name"] = set.name;
      results_.push_back(std::move(document));
    }
  }

  Json pair(const std::string& spec, const DataSet& set) {
    if (!on_disk(set.path)) throw UsageError("no such file or folder");
    const Json key = key_of(spec, set);
    if (auto known = options_.no_cache ? std::nullopt : cache_.find(key)) {
      ++cached_;
      (*known)["model"] = spec, (*known)["data"] = set.path, (*known)["cached"] = true;
      return *known;
    }
    if (!network_) load_once(spec);
    Json document = measure(spec, *network_, set, options_, common_);
    ++measured_;
    cache_.store(key, document);
    document["cached"] = false;
    return document;
  }

  void load_once(const std::string& spec) {
    if (!load_error_.empty()) throw std::runtime_error(load_error_);
    try {
      network_ = load(spec, options_, common_);
    } catch (const std::exception& error) {
      load_error_ = message_of(error);
      throw std::runtime_error(load_error_);
    }
  }

  // Everything that decides the figures. The data's name is part: its ending says what it holds.
  Json key_of(const std::string& spec, const DataSet& set) {
    const bool folder = on_disk(spec);
    const DataOptions data = data_options(options_);
    Json adapters = Json::array();
    for (const auto& word : options_.adapters) {
      const auto folder_of_word = word.substr(0, word.rfind(':'));
      adapters.push_back(Json::array({word, cache_.checkpoint_identity(on_disk(word) ? word : folder_of_word)}));
    }
    return {{"program", cache_.identity(program_path())}, {"torch", TORCH_VERSION},
            {"model", folder ? cache_.checkpoint_identity(spec) : spec + " seed " + std::to_string(common_.seed)},
            {"data", cache_.identity(set.path)}, {"data_file", fs::path(set.path).filename().string()},
            {"task", options_.task}, {"split", data.split}, {"limit", data.limit}, {"options", data.options},
            {"dtype", options_.dtype}, {"batch_size", options_.batch_size}, {"device", common_.resolved_device().is_cuda() ? "cuda" : "cpu"},
            {"allow", {options_.allow_missing, options_.allow_unexpected}}, {"adapters", adapters}, {"details", options_.details}};
  }

  void tell(const std::string& spec, const DataSet& set, const Json& document) const {
    std::string text;
    for (const auto& [name, value] : flat_figures(document.at("metrics"))) {
      if (name.find('.') == std::string::npos && better(name) != Better::unknown) text += (text.empty() ? "" : ", ") + name + " " + figure_text(value);
    }
    spdlog::info("{} of {}: {} on {}: {}{}", results_.size() + 1, options_.specs.size() * options_.data.size(), spec, set.name, text,
                 document.at("cached").get<bool>() ? " (measured before)" : "");
  }

  const Options& options_;
  const Common& common_;
  EvaluationCache cache_;
  std::optional<Network> network_;
  std::string load_error_;
  Json results_ = Json::array();
  int64_t measured_ = 0, cached_ = 0, failed_ = 0;
};

std::string table_text(const std::string& file, const Json& document) {
  const std::string ending = fs::path(file).extension().string();
  if (ending == ".md") return evaluation_table(document["results"], false).markdown();
  if (ending == ".csv") return evaluation_table(document["results"], true).csv();
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

int run_many(const Options& options, const Common& common) {
  const Json document = Many(options, common).run();
  write_document(document, options);
  for (const auto& file : options.tables) write_output(file, table_text(file, document), options.overwrite);
  if (common.json) print_json(document);
  else std::cout << evaluation_table(document["results"], false).text();
  const auto failed = document["failed"].get<int64_t>();
  if (failed > 0) spdlog::error("{} of {} could not be measured; the same command again tries only these", failed, document["results"].size());
  return failed > 0 ? 1 : 0;
}

int run(const Options& options, const Common& common) {
  refuse_several_processes("zoo eval", "start it once (the evaluations of zoo train do share their work)");
  for (const auto& file : options.tables) {
    const std::string ending = fs::path(file).extension().string();
    if (ending != ".md" && ending != ".csv" && ending != ".json") throw UsageError("--table " + file + ": expected a name that ends in .md, .csv or .json");
    refuse_existing(file, options.overwrite);
  }
  if (!options.out.empty()) refuse_existing(options.out, options.overwrite);
  if (options.task == "score") return run_score(options, common);
  if (!options.hypotheses.empty() || !options.references.empty()) throw UsageError("--hypotheses and --references are for --task score");
  if (options.specs.empty()) throw UsageError("model is required: a checkpoint folder, or name:variant");
  if (options.data.empty()) throw UsageError("--data is required: a file or folder to evaluate on");
  common.resolved_device();  // a device that is not there concerns all
  const bool one = options.specs.size() == 1 && options.data.size() == 1 && options.tables.empty() && options.cache.empty();
  return one ? run_one(options, common) : run_many(options, common);
}

Action declare(CLI::App& command, Common& common) {
  auto options = std::make_shared<Options>();
  command.add_option("model", options->specs, "checkpoint or adapter folders, or name:variant for fresh weights");
  command.add_option("--adapter", options->adapters, "adapter folder to put on the network, DIR or DIR:weight (repeatable: a weighted sum)")
      ->expected(1)->take_all();
  command.add_option("--data", options->data, "file or folder to evaluate on, or NAME=PATH (repeatable)")->expected(1)->take_all();
  command.add_option("--task", options->task, "default: the checkpoint's own; one of " + join(task_names()) + "; score: texts beside references, no network");
  command.add_option("--hypotheses", options->hypotheses, "score: file of texts, one on each line");
  command.add_option("--references", options->references, "score: file of references, line by line (repeatable: several for each text)")->expected(1)->take_all();
  command.add_option("--metrics", options->metrics, "score, seq2seq: figures of the texts, joined by commas: " + join(text_metric_names()));
  command.add_option("--num-beams", options->num_beams, "seq2seq with --metrics: beams of the search; 1: greedy")->check(CLI::Range(1, 1024));
  command.add_option("--max-new-tokens", options->max_new_tokens, "seq2seq with --metrics: at most so many tokens")->check(CLI::Range(1, 1 << 20));
  command.add_option("--split", options->split, "train, validation or test, where the data has them");
  command.add_option("--batch-size", options->batch_size, "examples at once; 0: chosen by the task")->check(CLI::Range(0, 1 << 20));
  command.add_option("--limit", options->limit, "only the first N examples; 0: all")->check(CLI::NonNegativeNumber);
  command.add_option("--columns", options->columns, "columns of a table, joined by commas: sentence1,sentence2,score");
  command.add_option("--max-length", options->max_length, "cut texts to this many tokens; 0: the checkpoint's limit")->check(CLI::NonNegativeNumber);
  command.add_option("--dtype", options->dtype, "float32, bfloat16 or float16; on a CPU also int8, int8-weights, int4-weights, and these and bfloat16 are those of the linear layers alone");
  command.add_flag("--allow-missing", options->allow_missing, "tensors that the checkpoint lacks stay random");
  command.add_flag("--allow-unexpected", options->allow_unexpected, "tensors that the network does not know are ignored");
  command.add_flag("--details", options->details, "confusion matrix, worst mistakes, in the JSON document");
  command.add_option("--out", options->out, "write the JSON document to this file as well");
  command.add_option("--table", options->tables, "write the table to FILE.md, FILE.csv or FILE.json (repeatable)")->expected(1)->take_all();
  command.add_option("--cache", options->cache, "folder of figures measured before; without it only several pairs use one, ~/.cache/zoo/evaluations");
  command.add_flag("--no-cache", options->no_cache, "measure again what was measured before");
  command.add_flag("--overwrite", options->overwrite, "replace the files of --out and --table");
  command.add_option("--option", options->words, "more of the task's options: key=value (repeatable)");
  return [options, &common] { return run(*options, common); };
}

}  // namespace eval_command

Verb eval_verb() {
  return {"eval", "figures of networks on whole data sets",
          "  zoo eval all-MiniLM-L6-v2 --task similarity --data sts_b/test.csv\n"
          "  zoo eval out/cct --data fashion-mnist --split test --json\n"
          "  zoo eval all-MiniLM-L6-v2 --task similarity --data pairs.tsv --columns left,right,score --details --out figures.json\n"
          "  zoo eval FOLDER --task seq2seq --data pairs.tsv --metrics bleu,chrf,exact_match --json\n"
          "  zoo eval --task score --hypotheses a.txt --references b.txt --metrics bleu,rouge,codebleu --json\n"
          "  zoo eval out/a out/b out/c --data ETTh1.csv --data mine=series.csv --table results.md --table results.csv\n",
          eval_command::declare};
}

}  // namespace zoo::app
