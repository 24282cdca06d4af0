// zoo compare: trainings side by side.
#include <iostream>

#include "app/cli.h"
#include "app/report/comparison.h"
#include "app/tasks/text_batches.h"

namespace zoo::app {
namespace compare_command {

struct Options {
  std::vector<std::string> runs;
  std::string out;
  bool each = false, markdown = false, csv = false, overwrite = false;
};

int run(const Options& options, const Common& common) {
  if (options.markdown + options.csv + common.json > 1) throw UsageError("give one of --markdown, --csv and --json");
  if (!options.out.empty()) refuse_existing(options.out, options.overwrite);
  const auto runs = read_runs(options.runs);
  const Comparison comparison = compare_runs(runs, options.each);
  if (!options.out.empty()) write_output(options.out, comparison_page(comparison), options.overwrite);
  if (common.json) print_json(comparison_json(comparison));
  else if (options.csv) std::cout << comparison_rows(comparison).csv();
  else if (options.markdown) std::cout << comparison_table(comparison).markdown();
  else std::cout << comparison_table(comparison).text();
  return 0;
}

Action declare(CLI::App& command, Common& common) {
  auto options = std::make_shared<Options>();
  command.add_option("run", options->runs, "folders that zoo train wrote, also unfinished ones and those of --seeds")->required();
  command.add_flag("--each", options->each, "every run for itself; else runs of one recipe are shown as mean and deviation over seeds");
  command.add_flag("--markdown", options->markdown, "a Markdown table");
  command.add_flag("--csv", options->csv, "a row for each run or group, in full precision");
  command.add_option("--out", options->out, "also write an HTML page with the curves overlaid");
  command.add_flag("--overwrite", options->overwrite, "replace the --out file");
  return [options, &common] { return run(*options, common); };
}

}  // namespace compare_command

Verb compare_verb() {
  return {"compare", "trainings side by side: recipes, figures, curves",
          "  zoo compare runs/a runs/b\n"
          "  zoo compare runs/* --out comparison.html\n"
          "  zoo compare runs/etth1 runs/other --each --csv > runs.csv\n",
          compare_command::declare};
}

}  // namespace zoo::app
