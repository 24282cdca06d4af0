// Text to text: what a network with an encoder and a decoder writes for each line (translation, summaries, code refinement).
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <fstream>
#include <iostream>

#include "app/cli.h"
#include "app/engine/generation.h"
#include "app/files.h"
#include "app/report/progress.h"
#include "app/tasks/text_batches.h"
#include "app/tasks/text_predictions.h"

namespace zoo::app {
namespace seq2seq_detail {

constexpr int64_t kRowsAtOnce = 32;

// Every line is an input, empty ones too, so that line n of the output belongs to line n of the input.
std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path.string() + ": cannot be read");
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    lines.push_back(std::move(line));
  }
  return lines;
}

// --input names a file here when there is one of that name, else it is the text itself.
std::vector<std::string> texts_of(const RunOptions& options) {
  std::error_code error;
  if (!options.text.empty() && std::filesystem::is_regular_file(options.text, error)) return lines_of(options.text);
  std::vector<std::string> texts;
  for (const auto& input : read_text_inputs(options)) texts.push_back(input.text);
  return texts;
}

GenerationOptions options_of(const Bundle& bundle, const Json& options) {
  Json wanted = Json::object();
  for (const auto& key : generation_keys())  // "max_length" means the input's in every text task
    if (key != "max_length" && options.contains(key)) wanted[key] = options.at(key);
  const auto path = bundle.folder / "generation_config.json";
  const Json stored = !bundle.folder.empty() && on_disk(path) ? read_json(path) : Json::object();
  GenerationOptions found = generation_options(bundle.config, stored, wanted);
  if (found.eos.empty()) found.eos = generation_options(Json::object(), Json::object(), Json{{"eos_token_id", bundle.config.value("eos_token_id", Json())}}).eos;
  if (found.pad < 0) found.pad = pad_id_of(bundle);
  if (found.decoder_start < 0 && bundle.config.contains("decoder_start_token_id") && bundle.config["decoder_start_token_id"].is_number_integer()) {
    found.decoder_start = bundle.config["decoder_start_token_id"].get<int64_t>();
  }
  return found;
}

class Seq2Seq : public Task {
 public:
  std::string name() const override { return "seq2seq"; }

  Json run(Bundle& bundle, const RunOptions& options) const override {
    if (!options.out.empty()) refuse_existing(options.out, options.overwrite);
    const GenerationOptions how = options_of(bundle, options.options);
    const auto texts = texts_of(options);
    const auto encodings = encode_texts(tokenizer_of(bundle), texts, {}, text_limit(bundle, options.options));
    std::vector<Json> answers(texts.size());
    std::vector<int64_t> lengths;
    for (const auto& encoding : encodings) lengths.push_back(static_cast<int64_t>(encoding.ids.size()));
    BatchBudget budget;
    budget.rows = options.batch_size > 0 ? options.batch_size : std::max<int64_t>(1, kRowsAtOnce / how.num_beams);
    Progress progress("write", static_cast<int64_t>(texts.size()), "texts");
    for (const auto& batch : batches_by_length(lengths, budget)) {
      write(bundle, how, texts, encodings, batch, answers);
      progress.add(static_cast<int64_t>(batch.size()));
    }
    return deliver(texts, answers, options);
  }

  std::unique_ptr<Dataset> open(const std::filesystem::path&, const Bundle&, const DataOptions&) const override { refuse(); }
  at::Tensor loss(const Tensors&, const Tensors&, const Json&) const override { refuse(); }
  std::unique_ptr<Metrics> metrics(const Bundle&) const override { refuse(); }
  std::string primary_metric() const override { return "loss"; }

 private:
  [[noreturn]] static void refuse() { throw UsageError("task seq2seq runs networks (zoo run); it does not train or evaluate them"); }

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
};

}  // namespace seq2seq_detail

const Task& seq2seq_task() {
  static const seq2seq_detail::Seq2Seq task;
  return task;
}

}  // namespace zoo::app
