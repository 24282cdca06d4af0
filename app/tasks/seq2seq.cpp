// Text to text: what a network with an encoder and a decoder writes for each line (translation, summaries, code refinement), and
// how one without an encoder goes on after it.
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <limits>

#include "app/cli.h"
#include "app/engine/generation.h"
#include "app/files.h"
#include "app/report/progress.h"
#include "app/tasks/labelled_text.h"
#include "app/tasks/text_batches.h"

namespace zoo::app {
namespace seq2seq_detail {

constexpr int64_t kRowsAtOnce = 32;

// Every line is an input, empty ones too, so that line n of the output belongs to line n of the input.
void add_lines(std::istream& in, const std::string& name, std::vector<std::string>& texts) {
  int64_t number = 1;
  for (std::string line; std::getline(in, line); ++number) {
    if (number == 1 && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
    if (line.find('\0') != std::string::npos) {
      throw std::runtime_error(name + ":" + std::to_string(number) + ": holds NUL bytes, so it is binary; UTF-8 text is expected");
    }
    if (!line.empty() && line.back() == '\r') line.pop_back();
    texts.push_back(std::move(line));
  }
}

bool is_table(const std::filesystem::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".csv" || extension == ".tsv" || extension == ".tab" || extension == ".jsonl";
}

// A text file or standard input; tables and folders as in every text task.
void add_input(const std::string& input, const RunOptions& options, std::vector<std::string>& texts) {
  std::error_code error;
  if (input == "-") return add_lines(std::cin, "standard input", texts);
  if (std::filesystem::is_regular_file(input, error) && !is_table(input)) {
    std::ifstream file(input, std::ios::binary);
    if (!file) throw std::runtime_error(input + ": cannot be read");
    return add_lines(file, input, texts);
  }
  RunOptions one = options;
  one.text.clear();
  one.inputs = {input};
  for (auto& found : read_text_inputs(one)) texts.push_back(std::move(found.text));
}

// --input names a file here when there is one of that name, else it is the text itself.
std::vector<std::string> texts_of(const RunOptions& options) {
  std::vector<std::string> texts;
  std::error_code error;
  if (!options.text.empty() && std::filesystem::is_regular_file(options.text, error)) add_input(options.text, options, texts);
  else if (!options.text.empty()) texts.push_back(options.text);
  for (const auto& input : options.inputs) add_input(input, options, texts);
  if (texts.empty()) {
    throw UsageError("no texts: give --input \"a sentence\" or --input FILE, files (.txt, .csv, .tsv, .jsonl), a folder of .txt, or - for standard input");
  }
  return texts;
}

// What the command line asks for.
Json wanted_of(const Json& options) {
  Json wanted = Json::object();
  for (const auto& key : generation_keys())  // "max_length" means the input's in every text task
    if (key != "max_length" && options.contains(key)) wanted[key] = options.at(key);
  return wanted;
}

// `wanted` over generation_config.json over config.json. Older folders have no generation_config.json, or one without the ends
// of a text: config.json then has them.
GenerationOptions options_of(const Bundle& bundle, const Json& wanted) {
  const auto path = bundle.folder / "generation_config.json";
  Json stored = !bundle.folder.empty() && on_disk(path) ? read_json(path) : Json::object();
  for (const char* key : {"eos_token_id", "decoder_start_token_id"}) {
    const auto configured = bundle.config.find(key);
    if (!stored.empty() && !stored.contains(key) && configured != bundle.config.end()) stored[key] = *configured;
  }
  generation_options(bundle.config, stored, Json::object());  // what is wrong in the folder is no mistake of the command line
  try {
    GenerationOptions found = generation_options(bundle.config, stored, wanted);
    if (found.pad < 0) found.pad = pad_id_of(bundle);
    return found;
  } catch (const std::invalid_argument& error) {
    throw UsageError(error.what());
  }
}

// Ids beyond the embedding mean that the folder's tokenizer belongs to another network.
void check_ids(const Bundle& bundle, const std::vector<tokenizers::Encoding>& encodings) {
  const int64_t rows = bundle.config.value("vocab_size", std::numeric_limits<int64_t>::max());
  for (const auto& encoding : encodings) {
    for (const int64_t id : encoding.ids) {
      if (id < rows) continue;
      throw std::runtime_error("the tokenizer gives id " + std::to_string(id) + " of its " + std::to_string(tokenizer_of(bundle).vocab_size()) +
                               " tokens; the network's embedding has vocab_size " + std::to_string(rows) + " rows (put the network's own tokenizer in the folder)");
    }
  }
}

// `continues`: the lines are prompts, and what is written are their continuations.
class Seq2Seq : public Task {
 public:
  explicit Seq2Seq(bool continues) : continues_(continues) {}
  std::string name() const override { return continues_ ? "generate" : "seq2seq"; }

  Json run(Bundle& bundle, const RunOptions& options) const override {
    if (!options.out.empty()) refuse_existing(options.out, options.overwrite);
    const GenerationOptions how = options_of(bundle, wanted_of(options.options));
    const auto texts = texts_of(options);
    const int64_t limit = text_limit(bundle, options.options);
    const auto encodings = encode_texts(tokenizer_of(bundle), texts, {}, limit);
    check_ids(bundle, encodings);
    note_cut_texts(encodings, texts, {}, limit);
    std::vector<Json> answers(texts.size());
    std::vector<int64_t> lengths;
    for (const auto& encoding : encodings) lengths.push_back(static_cast<int64_t>(encoding.ids.size()));
    BatchBudget budget;
    budget.rows = options.batch_size > 0 ? options.batch_size : std::max<int64_t>(1, kRowsAtOnce / how.num_beams);
    budget.equal_lengths = continues_;  // prompts without padding: no line's text depends on its neighbours
    Progress progress("write", static_cast<int64_t>(texts.size()), "texts");
    for (const auto& batch : batches_by_length(lengths, budget)) {
      write(bundle, how, texts, encodings, batch, answers);
      progress.add(static_cast<int64_t>(batch.size()));
    }
    return deliver(texts, answers, options);
  }

  std::unique_ptr<Dataset> open(const std::filesystem::path&, const Bundle&, const DataOptions&) const override { refuse(name()); }
  at::Tensor loss(const Tensors&, const Tensors&, const Json&) const override { refuse(name()); }
  std::unique_ptr<Metrics> metrics(const Bundle&) const override { refuse(name()); }
  std::string primary_metric() const override { return "loss"; }

 private:
  [[noreturn]] static void refuse(const std::string& task) {
    throw UsageError("task " + task + " runs networks (zoo run); it does not train or evaluate them");
  }

  static void write(Bundle& bundle, const GenerationOptions& how, const std::vector<std::string>& texts,
                    const std::vector<tokenizers::Encoding>& encodings, const std::vector<int64_t>& batch, std::vector<Json>& answers) {
    std::vector<const tokenizers::Encoding*> members;
    std::vector<int64_t> written;
    for (const int64_t index : batch) {
      answers[index] = Json::array();
      if (texts[index].empty() || encodings[index].ids.empty()) continue;  // nothing in, nothing out
      members.push_back(&encodings[index]);
      written.push_back(index);
    }
    if (members.empty()) return;
    const auto results = generate(*bundle.model, to_device(pad_encodings(members, pad_id_of(bundle)), bundle.device), how);
    for (size_t i = 0; i < written.size(); ++i) {
      for (const auto& one : results[i]) {
        Json answer = {{"text", tokenizer_of(bundle).decode(one.ids, /*skip_special=*/true)}, {"ids", one.ids}};
        if (how.num_beams > 1) answer["score"] = one.score;
        answers[written[i]].push_back(std::move(answer));
      }
    }
  }

  static Json deliver(const std::vector<std::string>& texts, const std::vector<Json>& answers, const RunOptions& options) {
    std::string lines;
    Json document = Json::array();
    for (size_t i = 0; i < texts.size(); ++i) {
      document.push_back({{"input", texts[i]}, {"outputs", answers[i]}});
      std::string line = answers[i].empty() ? "" : answers[i][0].at("text").get<std::string>();
      std::replace(line.begin(), line.end(), '\n', ' ');  // one line out for one line in
      lines += line + "\n";
    }
    if (!options.out.empty()) {
      const bool json = options.format == "json" || (options.format.empty() && options.out.extension() == ".json");
      write_output(options.out, json ? document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n" : lines, options.overwrite);
    } else if (!options.json) {
      std::cout << lines << std::flush;
    }
    return document;
  }

  bool continues_;
};

}  // namespace seq2seq_detail

const Task& seq2seq_task() {
  static const seq2seq_detail::Seq2Seq task(/*continues=*/false);
  return task;
}

const Task& generate_task() {
  static const seq2seq_detail::Seq2Seq task(/*continues=*/true);
  return task;
}

}  // namespace zoo::app
