// zoo run: predictions for files, folders, standard input or a sentence.
#include "app/cli.h"
#include "app/command_options.h"
#include "app/engine/place.h"
#include "app/tasks/task.h"
#include "models/names.h"

namespace zoo::app {
namespace run_command {

struct Options {
  std::string spec, task, dtype;
  std::vector<std::string> words;  // key=value
  std::vector<std::string> adapters;  // DIR or DIR:weight
  RunOptions run;
  std::string out;
  int64_t workers = 0;
  bool allow_missing = false, allow_unexpected = false;
  // Flags that become entries of run.options: the name there and what the user gave.
  std::map<std::string, std::string> texts;
  std::map<std::string, int64_t> counts;
  std::map<std::string, bool> flags;
  std::optional<double> threshold;
};

std::vector<std::string> resuming_tasks() {
  std::vector<std::string> names;
  for (const auto& name : task_names())
    if (find_task(name).resumes()) names.push_back(name);
  return names;
}

int run(Options& options, const Common& common) {
  refuse_several_processes("zoo run", "start it once, and for several inputs once for each, with an --out of its own");
  if (common.device == "cpu" && (options.dtype == "float16" || options.dtype == "fp16")) throw UsageError("--dtype float16 needs a GPU; use float32 or bfloat16");
  RunOptions& run = options.run;
  run.options = parse_assignments(options.words);
  for (const auto& [key, text] : options.texts) if (!text.empty()) run.options[key] = text;
  for (const auto& [key, count] : options.counts) if (count > 0) run.options[key] = count;
  for (const auto& [key, flag] : options.flags) if (flag) run.options[key] = true;
  if (options.threshold) run.options["threshold"] = *options.threshold;
  run.out = options.out;
  run.json = common.json;

  if (!options.task.empty() && !find_task(options.task).needs_network()) {
    Bundle bundle;
    bundle.spec = options.spec;
    bundle.folder = options.spec;
    bundle.tokenizer = tokenizers::load(options.spec);
    find_task(options.task).run(bundle, run);  // writes line by line: no document for --json
    return 0;
  }
  BundleOptions wanted;
  wanted.dtype = options.dtype;
  wanted.adapters = options.adapters;
  wanted.allow_missing = options.allow_missing;
  wanted.allow_unexpected = options.allow_unexpected;
  if (!options.task.empty()) wanted.task = find_task(options.task).head();
  if (options.workers > 1 && !common.resolved_device().is_cpu()) throw UsageError("--workers " + std::to_string(options.workers) + " is for a CPU; a GPU takes one batch after the other");
  Bundle bundle = load_bundle(options.spec, common.resolved_device(), wanted);
  bundle.workers = options.workers;
  const Task& task = find_task(options.task.empty() ? bundle.task : options.task);
  if (run.resume && !task.resumes()) throw UsageError("--resume is for the tasks " + join(resuming_tasks()) + "; this is " + task.name());
  if (run.stream && task.name() != "seq2seq" && task.name() != "generate") {
    throw UsageError("--stream is for the tasks seq2seq and generate; this is " + task.name());
  }
  const Json document = task.run(bundle, run);
  if (common.json && !document.is_null()) print_json(document);
  return 0;
}

void declare_linkage(CLI::App& command, Options& options) {
  const std::string group = "Record linkage (--task linkage)";
  const auto text = [&](const char* flag, const char* key, const char* help) {
    command.add_option(flag, options.texts[key], help)->group(group);
  };
  text("--left", "left", "table whose rows look for a partner: .csv, .tsv or .jsonl");
  text("--right", "right", "table that is searched");
  text("--left-on", "left_on", "columns of the left table to compare, joined by commas (several: joined by the separator token)");
  text("--right-on", "right_on", "columns of the right table; default: those of --left-on");
  text("--block", "block", "columns that must be equal, joined by commas: only such rows are compared");
  text("--truth", "truth", "column of both tables that is equal for true matches: reports the accuracy");
  command.add_option("--threshold", options.threshold, "least cosine of a match; default 0 for linkage, 0.9 for --dedupe and --cluster")
      ->check(CLI::Range(-1.0, 1.0))->group(group);
  command.add_flag("--dedupe", options.flags["dedupe"], "one table: keep the first row of each cluster")->group(group);
  command.add_flag("--cluster", options.flags["cluster"], "one table: add a column \"cluster\"")->group(group);
  text("--cluster-method", "cluster_method",
       "connected (default: rows joined by any chain of pairs above the threshold; any number of rows), or average, complete, "
       "ward (agglomerative; up to 20000 rows)");
}

Action declare(CLI::App& command, Common& common) {
  auto options = std::make_shared<Options>();
  command.add_option("model", options->spec, "checkpoint or adapter folder, or name:variant for fresh weights")->required();
  command.add_option("--adapter", options->adapters, "adapter folder to put on the network, DIR or DIR:weight (repeatable: a weighted sum)")
      ->expected(1)->take_all();
  command.add_option("inputs", options->run.inputs, "files or folders; - is standard input");
  command.add_option("--task", options->task, "default: the checkpoint's own; one of " + join(task_names()));
  command.add_option("--input", options->run.text, "a sentence, or a file of them; for forecasting the CSV file of the series");
  command.add_option("--pair", options->texts["pair"], "its second sentence (similarity, text_classification)");
  command.add_option("--column", options->texts["column"], "column of .csv, .tsv and .jsonl inputs that holds the texts");
  command.add_option("--columns", options->texts["columns"], "columns of pairs, joined by commas: sentence1,sentence2");
  command.add_option("--out", options->out, "file for the result; its ending chooses the format");
  command.add_option("--format", options->run.format, "text, json, jsonl, csv or npy; default: by --out, else text");
  command.add_option("--top-k", options->counts["top_k"], "how many answers for each input")->check(CLI::Range(1, 100000));
  command.add_option("--backtest", options->counts["backtest"], "forecasting: so many forecasts from past moments, beside what came")
      ->check(CLI::Range(1, 100000));
  command.add_option("--num-beams", options->counts["num_beams"], "seq2seq, generate: beams of the search; 1: greedy")->check(CLI::Range(1, 1024));
  command.add_option("--max-new-tokens", options->counts["max_new_tokens"], "seq2seq, generate: at most so many tokens")->check(CLI::Range(1, 1 << 20));
  command.add_option("--max-length", options->counts["max_length"], "cut texts to this many tokens")->check(CLI::Range(3, 1 << 20));
  command.add_option("--batch-size", options->run.batch_size, "inputs at once; 0: chosen by the task")->check(CLI::Range(0, 1 << 20));
  command.add_option("--workers", options->workers, "texts on a CPU: so many batches side by side, each with its share of --threads; 0: as many as threads, for generation one")
      ->check(CLI::Range(0, 1024));
  command.add_option("--dtype", options->dtype, "float32, bfloat16 or float16; on a CPU also int8, int8-weights, int4-weights, and these and bfloat16 are those of the linear layers alone");
  command.add_flag("--allow-missing", options->allow_missing, "tensors that the checkpoint lacks stay random");
  command.add_flag("--allow-unexpected", options->allow_unexpected, "tensors that the network does not know are ignored");
  command.add_flag("--overwrite", options->run.overwrite, "replace what --out names");
  command.add_flag("--resume", options->run.resume, "tasks of texts: go on with the partial file that a killed run of the same command left beside --out");
  command.add_flag("--stream", options->run.stream, "seq2seq, generate: print the text piece by piece as it is made");
  command.add_option("--option", options->words, "more of the task's options: key=value (repeatable)");
  declare_linkage(command, *options);
  return [options, &common] { return run(*options, common); };
}

}  // namespace run_command

Verb run_verb() {
  return {"run", "predictions for files, folders, standard input or a sentence",
          "  zoo run all-MiniLM-L6-v2 --task embedding --input \"a sentence\" --json\n"
          "  zoo run all-MiniLM-L6-v2 --task embedding lines.txt more.csv --column title --out vectors.npy\n"
          "  zoo run all-MiniLM-L6-v2 --task similarity --input \"a cat\" --pair \"a kitten\"\n"
          "  zoo run out/cct picture.png --top-k 3\n"
          "  zoo run all-MiniLM-L6-v2 --task linkage --left a.csv --right b.csv --left-on name --right-on title --out matched.csv\n"
          "  zoo run runs/itransformer --input ETTh1.csv --out forecast.csv\n"
          "  zoo run t5-base --task seq2seq million_lines.txt --out texts.txt --resume\n"
          "  zoo run all-MiniLM-L6-v2 --task linkage --left a.csv --left-on name --dedupe --threshold 0.9 --out unique.csv\n",
          run_command::declare};
}

}  // namespace zoo::app
