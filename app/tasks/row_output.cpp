#include "app/tasks/row_output.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iostream>

#include "app/cli.h"
#include "app/engine/evaluation_cache.h"
#include "app/engine/interrupt.h"
#include "app/files.h"
#include "app/report/progress.h"
#include "app/tasks/text_batches.h"
#include "data/csv.h"

namespace zoo::app {
namespace row_output_detail {

constexpr size_t kWindowBytes = size_t{64} << 20;  // of text that is read ahead, whatever the number of inputs

std::string json_text(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string format_of(const RunOptions& options, const std::vector<std::string>& formats) {
  const auto known = [&](const std::string& name) { return std::find(formats.begin(), formats.end(), name) != formats.end(); };
  const std::string extension = options.out.extension().string();
  if (options.format.empty()) return extension.size() > 1 && known(extension.substr(1)) ? extension.substr(1) : "text";
  if (known(options.format)) return options.format;
  std::string all;
  for (const auto& name : formats) all += (all.empty() ? "" : name == formats.back() ? " or " : ", ") + name;
  throw UsageError("--format " + options.format.substr(0, 80) + ": expected " + all);
}

}  // namespace row_output_detail

RowOutput::RowOutput(const RunOptions& options, OutputForms forms, const std::function<Json()>& settings)
    : out_(options.out), forms_(std::move(forms)), json_(options.json), form_(row_output_detail::format_of(options, forms_.formats)) {
  if (options.resume && out_.empty()) throw UsageError("--resume goes on with a partial file; give its --out");
  if (!out_.empty()) {
    Json all = settings();
    all["format"] = form_;
    file_.emplace(out_, all, options.resume, options.overwrite);
    resumed_ = file_->inputs();
  }
  holds_ = json_ && (!file_ || (!forms_.head.empty() && resumed_ == 0));
}

void RowOutput::add(const std::string& input, const OutputRow& row) {
  if (file_) file_->add(input, rendered(row, form_, file_->inputs() == 0));
  else if (!json_) std::cout << rendered(row, form_, rows_ == 0);
  else if (!holds_) print_json_text(rendered(row, "json", false));
  ++rows_;
  if (holds_) hold(row);
}

void RowOutput::hold(const OutputRow& row) {
  held_.push_back(row.json);
  if (held_.size() <= kHeldRows) return;
  if (!file_) print_held();
  held_.clear();
  holds_ = false;
}

void RowOutput::print_held() {
  bool first = true;
  for (Json& json : held_) print_json_text(rendered({std::move(json), "", {}}, "json", std::exchange(first, false)));
  printed_ = true;
}

void RowOutput::milestone(bool now) {
  if (file_) file_->milestone(now);
  else std::cout << std::flush;
}

Json RowOutput::finish() {
  if (file_) {
    file_->finish(ending(form_));
    Json document = forms_.head;
    document.update({{"out", out_.string()}, {"inputs", resumed_ + rows_}, {"resumed_from", resumed_}});
    if (holds_) document[forms_.key] = std::move(held_);
    return document;
  }
  if (printed_) print_json_text(ending("json"));
  if (!json_) std::cout << ending(form_) << std::flush;
  if (!holds_) return nullptr;
  if (forms_.head.empty()) return std::move(held_);
  Json document = forms_.head;
  document[forms_.key] = std::move(held_);
  return document;
}

std::string RowOutput::rendered(const OutputRow& row, const std::string& form, bool first) const {
  namespace d = row_output_detail;
  if (form == "text") return row.text;
  if (form == "jsonl") return d::json_text(row.json) + "\n";
  if (form == "csv") {
    std::string records = first ? data::csv_record(forms_.header) : "";
    for (const auto& record : row.table) records += data::csv_record(record);
    return records;
  }
  if (!first) return ",\n" + d::json_text(row.json);
  if (forms_.head.empty()) return "[\n" + d::json_text(row.json);
  std::string head = d::json_text(forms_.head);
  head.pop_back();  // its closing brace
  return head + "," + d::json_text(forms_.key) + ":[\n" + d::json_text(row.json);
}

std::string RowOutput::ending(const std::string& form) const {
  if (form != "json") return "";
  return forms_.head.empty() ? "\n]\n" : "\n]}\n";
}

namespace row_output_detail {

class Run {
 public:
  Run(const RunOptions& options, const RowRun& how) : how_(how), output_(options, how.forms, how.settings) {
    if (!output_.file()) return;
    interrupt_.emplace();
  }

  Json run(TextInput first) {
    ahead_ = std::move(first);
    if (output_.file()) pass_over(*output_.file());
    if (how_.total == 0 || how_.total >= how_.show_from) progress_.emplace(how_.title, std::max<int64_t>(0, how_.total - done_), "texts");
    while (read_window()) write_window();
    if (progress_) progress_->finish();
    return output_.finish();
  }

 private:
  // What tells one input from another when a run goes on.
  static std::string identity(const TextInput& input) {
    std::string text = input.text;
    for (const auto& part : {input.pair, input.id})
      if (!part.empty()) text += "\t" + part;
    return text;
  }

  bool next(TextInput& input) {
    if (!ahead_) return how_.next(input);
    input = std::move(*ahead_);
    ahead_.reset();
    return true;
  }

  void pass_over(ResumableOutput& file) {
    file.pass_over([&](std::string& text) {
      TextInput input;
      const bool found = next(input);
      text = identity(input);
      return found;
    });
    done_ = file.inputs();
    if (done_ > 0) spdlog::info("going on after {} finished texts in {}", done_, file.partial().string());
  }

  bool read_window() {
    window_.clear();
    size_t bytes = 0;
    for (TextInput input; static_cast<int64_t>(window_.size()) < how_.window && bytes < kWindowBytes && next(input);) {
      bytes += input.text.size() + input.pair.size();
      window_.push_back(std::move(input));
    }
    return !window_.empty();
  }

  void write_window() {
    const auto stop = [this] { return interrupt_ && interrupt_->requested(); };
    const auto done = [this](int64_t count) {
      if (progress_) progress_->add(count);
    };
    const auto rows = how_.predict(window_, done_, stop, done);
    if (!rows) interrupted();
    for (size_t i = 0; i < rows->size(); ++i) output_.add(identity(window_[i]), (*rows)[i]);
    done_ += static_cast<int64_t>(rows->size());
    output_.milestone();
    if (stop()) interrupted();
  }

  [[noreturn]] void interrupted() {
    output_.milestone(/*now=*/true);
    throw std::runtime_error("interrupted after " + std::to_string(done_) + " texts, which are in " + output_.file()->partial().string() +
                             "; the same command with --resume goes on");
  }

  const RowRun& how_;
  RowOutput output_;
  std::optional<Interrupt> interrupt_;
  std::optional<Progress> progress_;
  std::optional<TextInput> ahead_;
  std::vector<TextInput> window_;
  int64_t done_ = 0;
};

}  // namespace row_output_detail

Json run_rows(const RunOptions& options, const RowRun& how, const std::string& nothing) {
  TextInput first;
  if (!how.next(first)) throw UsageError(nothing);
  return row_output_detail::Run(options, how).run(std::move(first));
}

Json run_settings(const Bundle& bundle, const RunOptions& options) {
  EvaluationCache hashes(EvaluationCache::default_folder());
  Json adapters = Json::array();
  for (const auto& adapter : bundle.adapters) adapters.push_back({adapter.weight, on_disk(adapter.source) ? hashes.identity(adapter.source) : adapter.source});
  return {{"checkpoint", bundle.folder.empty() ? bundle.spec : hashes.checkpoint_identity(bundle.folder)}, {"adapters", adapters},
          {"options", options.options}, {"batch_size", options.batch_size},
          {"dtype", c10::toString(bundle.model->parameters().front().scalar_type())}, {"device", bundle.device.str()}, {"version", ZOO_VERSION}};
}

}  // namespace zoo::app
