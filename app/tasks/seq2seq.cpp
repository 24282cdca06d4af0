// Text to text: what a network with an encoder and a decoder writes for each line (translation, summaries, code refinement), and
// training and evaluation on texts in pairs; and how a network without an encoder goes on after each line.
#include <ATen/ATen.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <limits>

#include "app/cli.h"
#include "app/engine/generation.h"
#include "app/files.h"
#include "app/report/progress.h"
#include "app/tasks/classification_metrics.h"
#include "app/tasks/labelled_text.h"
#include "app/tasks/text_batches.h"
#include "app/tasks/text_pairs.h"
#include "app/tasks/text_scores.h"

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

// For `batch`, indices of `texts`: the network's results as JSON lists of {"text", "ids", "score"}, best first.
void write_batch(Bundle& bundle, const GenerationOptions& how, std::span<const std::string> texts, std::span<const tokenizers::Encoding> encodings,
                 const std::vector<int64_t>& batch, std::vector<Json>& answers) {
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

// The same for all texts, in their order. `rows`: inputs at once; 0: by the number of beams. `equal_lengths`: no padding.
std::vector<Json> write_all(Bundle& bundle, const GenerationOptions& how, std::span<const std::string> texts,
                            std::span<const tokenizers::Encoding> encodings, int64_t rows, bool equal_lengths) {
  std::vector<Json> answers(texts.size());
  std::vector<int64_t> lengths;
  for (const auto& encoding : encodings) lengths.push_back(static_cast<int64_t>(encoding.ids.size()));
  BatchBudget budget;
  budget.rows = rows > 0 ? rows : std::max<int64_t>(1, kRowsAtOnce / how.num_beams);
  budget.equal_lengths = equal_lengths;
  Progress progress("write", static_cast<int64_t>(texts.size()), "texts");
  for (const auto& batch : batches_by_length(lengths, budget)) {
    write_batch(bundle, how, texts, encodings, batch, answers);
    progress.add(static_cast<int64_t>(batch.size()));
  }
  return answers;
}

// The best result as one line.
std::string line_of(const Json& answers) {
  std::string line = answers.empty() ? "" : answers[0].at("text").get<std::string>();
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

// The most tokens of a target: option "max_target_length", else as many as of a source.
int64_t target_limit(const Bundle& bundle, const Json& options) {
  const auto wanted = options.find("max_target_length");
  if (wanted == options.end()) return text_limit(bundle, options);
  try {
    return text_limit(bundle, {{"max_length", *wanted}});
  } catch (const UsageError& error) {
    throw UsageError(std::string("max_target_length: ") + error.what());
  }
}

// What was asked of an evaluation beyond the loss.
struct Writing {
  TextMetrics metrics;
  GenerationOptions how;
};

class Pairs : public Dataset {
 public:
  Pairs(const Bundle& bundle, TextPairs pairs, const Json& options)
      : pairs_(std::move(pairs)), pad_(pad_id_of(bundle)) {
    const int64_t limit = text_limit(bundle, options), most = target_limit(bundle, options);
    sources_ = encode_texts(tokenizer_of(bundle), pairs_.sources, {}, limit);
    targets_ = encode_texts(tokenizer_of(bundle), pairs_.targets, {}, most);
    check_ids(bundle, sources_);
    check_ids(bundle, targets_);
    note_cut_texts(sources_, pairs_.sources, {}, limit);
    note_cut_texts(targets_, pairs_.targets, {}, most);
    writing_.metrics = text_metrics(options);
    if (writing_.metrics.names.empty()) return;
    Json wanted = wanted_of(options);
    if (!wanted.contains("max_new_tokens") && options.contains("max_target_length")) wanted["max_new_tokens"] = options.at("max_target_length");
    writing_.how = options_of(bundle, wanted);
    writing_.how.num_return_sequences = 1;
  }
  int64_t size() const override { return static_cast<int64_t>(sources_.size()); }
  int64_t batch_size() const override { return kRowsAtOnce; }
  int64_t length(int64_t index) const override { return static_cast<int64_t>(sources_[index].ids.size() + targets_[index].ids.size()); }
  std::string split() const override { return pairs_.split; }
  std::string describe(int64_t index) const override { return pairs_.sources[index]; }

  // tokens [B, S], mask [B, S] where lengths differ, labels [B, T] (-100: padding); the network shifts them for its decoder.
  Tensors get(std::span<const int64_t> indices, bool /*training*/, uint64_t /*seed*/) const override {
    std::vector<const tokenizers::Encoding*> sources;
    size_t longest = 1;
    for (const int64_t index : indices) {
      sources.push_back(&sources_[index]);
      longest = std::max(longest, targets_[index].ids.size());
    }
    Tensors batch = pad_encodings(sources, pad_);
    const at::Tensor labels = at::full({static_cast<int64_t>(indices.size()), static_cast<int64_t>(longest)}, -100, at::kLong);
    for (size_t row = 0; row < indices.size(); ++row) {
      const auto& ids = targets_[indices[row]].ids;
      std::copy(ids.begin(), ids.end(), labels.mutable_data_ptr<int64_t>() + row * longest);
    }
    batch["labels"] = labels;
    return batch;
  }

  const TextPairs& pairs() const { return pairs_; }
  const std::vector<tokenizers::Encoding>& sources() const { return sources_; }
  const Writing& writing() const { return writing_; }

 private:
  TextPairs pairs_;
  int64_t pad_;
  std::vector<tokenizers::Encoding> sources_, targets_;
  Writing writing_;
};

// Of the tokens of the targets, each predicted from the ones before it.
class TokenMetrics : public Metrics {
 public:
  void add(const Tensors& outputs, const Tensors& batch, std::span<const int64_t>) override {
    const at::NoGradGuard no_grad;
    const at::Tensor logits = outputs.at("logits").flatten(0, 1).to(at::kFloat);
    const at::Tensor labels = batch.at("labels").to(logits.device()).flatten();
    loss_sum_ += at::cross_entropy_loss(logits, labels, {}, at::Reduction::None, -100).sum(at::kDouble).item<double>();
    right_ += logits.argmax(-1).eq(labels).sum().item<int64_t>();
    tokens_ += labels.ge(0).sum().item<int64_t>();
    texts_ += batch.at("labels").size(0);
  }
  Json result() const override {
    const double count = static_cast<double>(std::max<int64_t>(tokens_, 1));
    return {{"loss", loss_sum_ / count}, {"perplexity", std::exp(loss_sum_ / count)}, {"token_accuracy", static_cast<double>(right_) / count},
            {"tokens", tokens_}, {"samples", texts_}};
  }

 private:
  double loss_sum_ = 0;
  int64_t right_ = 0, tokens_ = 0, texts_ = 0;
};

void note_unfinished(const std::vector<Json>& answers, const GenerationOptions& how) {
  int64_t unfinished = 0;
  for (const auto& answer : answers) {
    if (answer.empty()) continue;
    const auto& ids = answer[0].at("ids");
    unfinished += static_cast<int64_t>(ids.size()) >= how.max_new_tokens && std::count(how.eos.begin(), how.eos.end(), ids.back().get<int64_t>()) == 0;
  }
  if (unfinished > 0)
    spdlog::warn("{} of {} texts were cut at {} tokens before their end (option max_new_tokens)", unfinished, answers.size(), how.max_new_tokens);
}

// `continues`: the lines are prompts, written on without padding, so that no line's text depends on its neighbours.
class Seq2Seq : public Task {
 public:
  explicit Seq2Seq(bool continues) : continues_(continues) {}
  std::string name() const override { return continues_ ? "generate" : "seq2seq"; }
  std::string primary_metric() const override { return "loss"; }
  bool higher_is_better() const override { return false; }

  std::unique_ptr<Dataset> open(const std::filesystem::path& data, const Bundle& bundle, const DataOptions& options) const override {
    if (continues_) throw UsageError("task generate runs networks (zoo run); it does not train or evaluate them");
    text_metrics(options.options);  // a wrong name is told before the data is read
    return std::make_unique<Pairs>(bundle, read_text_pairs(data, options.split, options.options, options.limit), options.options);
  }
  at::Tensor loss(const Tensors& outputs, const Tensors& batch, const Json& options) const override {
    return classification_loss(outputs.at("logits"), batch.at("labels"), options);
  }
  double loss_terms(const Tensors& batch) const override { return static_cast<double>(batch.at("labels").ge(0).sum().item<int64_t>()); }
  std::unique_ptr<Metrics> metrics(const Bundle&) const override { return std::make_unique<TokenMetrics>(); }

  WrittenTexts write_texts(Bundle& bundle, const Dataset& data, std::span<const int64_t> indices) const override {
    const auto& set = dynamic_cast<const Pairs&>(data);
    const Writing& writing = set.writing();
    if (writing.metrics.names.empty()) return {};
    std::vector<int64_t> order(indices.begin(), indices.end());
    std::sort(order.begin(), order.end());
    std::vector<std::string> sources, targets, written;
    std::vector<tokenizers::Encoding> encodings;
    for (const int64_t index : order) {
      sources.push_back(set.pairs().sources[index]);
      targets.push_back(set.pairs().targets[index]);
      encodings.push_back(set.sources()[index]);
    }
    const auto answers = write_all(bundle, writing.how, sources, encodings, 0, /*equal_lengths=*/false);
    note_unfinished(answers, writing.how);
    for (const auto& answer : answers) written.push_back(line_of(answer));
    WrittenTexts result{text_figures(writing.metrics, written, {targets}), Json::array()};
    for (size_t i = 0; i < written.size(); ++i) result.details.push_back({{"source", sources[i]}, {"target", targets[i]}, {"output", written[i]}});
    return result;
  }

  Json run(Bundle& bundle, const RunOptions& options) const override {
    if (!options.out.empty()) refuse_existing(options.out, options.overwrite);
    const GenerationOptions how = options_of(bundle, wanted_of(options.options));
    const auto texts = texts_of(options);
    const int64_t limit = text_limit(bundle, options.options);
    const auto encodings = encode_texts(tokenizer_of(bundle), texts, {}, limit);
    check_ids(bundle, encodings);
    note_cut_texts(encodings, texts, {}, limit);
    return deliver(texts, write_all(bundle, how, texts, encodings, options.batch_size, /*equal_lengths=*/continues_), options);
  }

 private:
  static Json deliver(const std::vector<std::string>& texts, const std::vector<Json>& answers, const RunOptions& options) {
    std::string lines;
    Json document = Json::array();
    for (size_t i = 0; i < texts.size(); ++i) {
      document.push_back({{"input", texts[i]}, {"outputs", answers[i]}});
      lines += line_of(answers[i]) + "\n";
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

std::unique_ptr<Dataset> pairs_dataset(const Bundle& bundle, TextPairs pairs, const Json& options) {
  return std::make_unique<seq2seq_detail::Pairs>(bundle, std::move(pairs), options);
}

const Task& seq2seq_task() {
  static const seq2seq_detail::Seq2Seq task(/*continues=*/false);
  return task;
}

const Task& generate_task() {
  static const seq2seq_detail::Seq2Seq task(/*continues=*/true);
  return task;
}

}  // namespace zoo::app
