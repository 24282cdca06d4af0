// The results of a `zoo run`, row by row in the order of its inputs, so that a run of any length needs little memory and loses nothing
// that is finished: they go into the file of --out as they come, which resumes (resumable_output.h), or onto standard output.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "app/tasks/resumable_output.h"
#include "app/tasks/task.h"
#include "app/tasks/text_batches.h"

namespace zoo::app {

// One input's results in every form that the task has.
struct OutputRow {
  Json json;
  std::string text;                             // for people, line breaks included
  std::vector<std::vector<std::string>> table;  // records of CSV
};

// What rows make together.
struct OutputForms {
  std::vector<std::string> formats;  // of text, json, jsonl and csv
  Json head = Json::object();        // JSON: what stands in front of the rows, {"task": ...}; empty: the document is their list alone
  std::string key = "predictions";   // under which they stand there
  std::vector<std::string> header;   // CSV
};

class RowOutput {
 public:
  // The format is options.format, else by the ending of options.out, else text. `settings`: those of ResumableOutput, asked for when
  // there is a file. Throws UsageError for a format that the task does not have and for --resume without --out; and as ResumableOutput does.
  RowOutput(const RunOptions& options, OutputForms forms, const std::function<Json()>& settings);
  ResumableOutput* file() { return file_ ? &*file_ : nullptr; }

  // The results of the next input; `input` is what identifies it when the run is resumed.
  void add(const std::string& input, const OutputRow& row);
  // What was added so far stays, whatever happens; `now`: from this moment on, else soon.
  void milestone(bool now = false);
  // Completes the file. The document for --json: the head with the rows, where a file is written with its name and how many inputs it
  // holds. More than kHeldRows rows are not kept for it: with a file the document names that alone; without one they have been printed as
  // they came, and the document is null.
  Json finish();

  static constexpr size_t kHeldRows = 10000;

 private:
  std::string rendered(const OutputRow& row, const std::string& form, bool first) const;
  std::string ending(const std::string& form) const;
  void hold(const OutputRow& row);
  void print_held();

  const std::filesystem::path out_;
  const OutputForms forms_;
  const bool json_;
  std::string form_;
  std::optional<ResumableOutput> file_;
  int64_t resumed_ = 0, rows_ = 0;  // inputs of the earlier run; rows of this one
  Json held_ = Json::array();
  bool holds_;           // rows are kept for the document
  bool printed_ = false; // the document's beginning is on standard output
};

// A run over inputs of any number.
struct RowRun {
  using Rows = std::optional<std::vector<OutputRow>>;
  OutputForms forms;
  std::function<Json()> settings;
  std::string title = "predict";  // of the progress bar,
  int64_t show_from = 256;        // which fewer inputs do not need
  int64_t total = 0;              // inputs; 0: not known
  int64_t window = 2048;          // so many inputs are read ahead, for batches of one length
  std::function<bool(TextInput&)> next;
  // The rows of a window, whose first input is number `first` of all, in its order; nothing where `stop` said so in the middle.
  std::function<Rows(const std::vector<TextInput>& window, int64_t first, const std::function<bool()>& stop, const std::function<void(int64_t)>& done)> predict;
};

// Reads, predicts and writes window by window; goes on with an earlier run's file where options.resume says so. Ctrl-C ends a run
// with --out in good order: std::runtime_error says what is finished. Returns the document for --json (RowOutput::finish). Throws
// UsageError `nothing` when there is no input.
Json run_rows(const RunOptions& options, const RowRun& how, const std::string& nothing);

// What decides the results of a run beside its inputs: checkpoint, adapters, options, types.
Json run_settings(const Bundle& bundle, const RunOptions& options);

}  // namespace zoo::app
