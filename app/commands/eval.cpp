// zoo eval: a network's figures on a whole dataset.
#include <ATen/Parallel.h>

#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdio>
#include <iostream>

#include "app/cli.h"
#include "app/command_options.h"
#include "app/engine/evaluator.h"
#include "app/report/progress.h"
#include "app/tasks/text_batches.h"
#include "models/names.h"

namespace zoo::app {
namespace eval_command {

struct Options {
  std::string spec, task, data, split, out, dtype, columns;
  std::vector<std::string> words;  // key=value
  std::vector<std::string> adapters;  // DIR or DIR:weight
  int64_t batch_size = 0, limit = 0, max_length = 0;
  bool overwrite = false, details = false, allow_missing = false, allow_unexpected = false;
};

DataOptions data_options(const Options& options) {
  DataOptions result;
  result.split = options.split;
  result.limit = options.limit;
  result.options = parse_assignments(options.words);
  if (!options.columns.empty()) result.options["columns"] = options.columns;
  if (options.max_length > 0) result.options["max_length"] = options.max_length;
  return result;
}

std::string figures_text(const Json& metrics, const std::string& group = "") {
  std::string text;
  for (const auto& [key, value] : metrics.items()) {
    const std::string name = group + key;
    if (name == "samples") continue;
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

Bundle load(const Options& options, const Common& common) {
  BundleOptions wanted;
  wanted.dtype = options.dtype;
  wanted.adapters = options.adapters;
  wanted.allow_missing = options.allow_missing;
  wanted.allow_unexpected = options.allow_unexpected;
  if (!options.task.empty()) wanted.task = find_task(options.task).head();
  return load_bundle(options.spec, common.resolved_device(), wanted);
}

int run(const Options& options, const Common& common) {
  using Clock = std::chrono::steady_clock;
  if (!options.out.empty()) refuse_existing(options.out, options.overwrite);
  std::error_code error;
  if (!std::filesystem::exists(options.data, error)) throw UsageError("--data " + options.data + ": no such file or folder");
  const auto start = Clock::now();
  Bundle bundle = load(options, common);
  const Task& task = find_task(options.task.empty() ? bundle.task : options.task);
  const double load_seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const auto opening = Clock::now();
  const auto data = task.open(options.data, bundle, data_options(options));
  const double open_seconds = std::chrono::duration<double>(Clock::now() - opening).count();
  EvaluationOptions how;
  how.batch_size = options.batch_size > 0 ? options.batch_size : data->batch_size();
  how.title = "evaluate";
  const c10::InferenceMode inference;
  const auto evaluation = evaluate(task, bundle, *data, how);

  Json document = {{"task", task.name()}, {"model", options.spec}, {"data", options.data}, {"split", data->split()},
                   {"metrics", evaluation.metrics}, {"samples", evaluation.samples}, {"seconds", evaluation.seconds},
                   {"load_seconds", load_seconds}, {"open_seconds", open_seconds}, {"batch_size", how.batch_size},
                   {"device", common.resolved_device().str()}, {"threads", at::get_num_threads()}};
  if (options.details) document["details"] = evaluation.details;
  if (!options.out.empty())
    write_output(options.out, document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n", options.overwrite);
  if (common.json) {
    print_json(document);
  } else {
    std::cout << figures_text(evaluation.metrics) << evaluation.samples << " examples in " << duration_text(evaluation.seconds)
              << " (loaded in " << duration_text(load_seconds) << ")\n";
  }
  return 0;
}

Action declare(CLI::App& command, Common& common) {
  auto options = std::make_shared<Options>();
  command.add_option("model", options->spec, "checkpoint or adapter folder, or name:variant for fresh weights")->required();
  command.add_option("--adapter", options->adapters, "adapter folder to put on the network, DIR or DIR:weight (repeatable: a weighted sum)")
      ->expected(1)->take_all();
  command.add_option("--data", options->data, "file or folder to evaluate on")->required();
  command.add_option("--task", options->task, "default: the checkpoint's own; one of " + join(task_names()));
  command.add_option("--split", options->split, "train, validation or test, where the data has them");
  command.add_option("--batch-size", options->batch_size, "examples at once; 0: chosen by the task")->check(CLI::Range(0, 1 << 20));
  command.add_option("--limit", options->limit, "only the first N examples; 0: all")->check(CLI::NonNegativeNumber);
  command.add_option("--columns", options->columns, "columns of a table, joined by commas: sentence1,sentence2,score");
  command.add_option("--max-length", options->max_length, "cut texts to this many tokens; 0: the checkpoint's limit")->check(CLI::NonNegativeNumber);
  command.add_option("--dtype", options->dtype, "float32, bfloat16 or float16");
  command.add_flag("--allow-missing", options->allow_missing, "tensors that the checkpoint lacks stay random");
  command.add_flag("--allow-unexpected", options->allow_unexpected, "tensors that the network does not know are ignored");
  command.add_flag("--details", options->details, "confusion matrix, worst mistakes, in the JSON document");
  command.add_option("--out", options->out, "write the JSON document to this file as well");
  command.add_flag("--overwrite", options->overwrite, "replace the --out file");
  command.add_option("--option", options->words, "more of the task's options: key=value (repeatable)");
  return [options, &common] { return run(*options, common); };
}

}  // namespace eval_command

Verb eval_verb() {
  return {"eval", "a network's figures on a whole dataset",
          "  zoo eval all-MiniLM-L6-v2 --task similarity --data sts_b/test.csv\n"
          "  zoo eval out/cct --data fashion-mnist --split test --json\n"
          "  zoo eval all-MiniLM-L6-v2 --task similarity --data pairs.tsv --columns left,right,score --details --out figures.json\n",
          eval_command::declare};
}

}  // namespace zoo::app
