// Tokenize: the ids, pieces and offsets of each line, without a network. Lines stream through in blocks, so that a file of
// any size needs the memory of one block.
#include <fstream>
#include <iostream>

#include <ATen/Parallel.h>

#include "app/cli.h"
#include "app/files.h"
#include "app/tasks/task.h"
#include "app/tasks/text_batches.h"

namespace zoo::app {
namespace tokenize_detail {

constexpr size_t kBlockLines = 4096, kBlockBytes = 16 << 20;

struct Settings {
  bool json = false;
  size_t max_length = 0;
};

std::string line_of(const tokenizers::Tokenizer& tokenizer, const std::string& text, const Settings& settings) {
  const auto encoding = tokenizer.encode(text, std::nullopt, settings.max_length);
  if (!settings.json) {
    std::string out;
    for (const int64_t id : encoding.ids) out += (out.empty() ? "" : " ") + tokenizer.id_to_token(id);
    return out;
  }
  Json pieces = Json::array(), offsets = Json::array();
  for (const int64_t id : encoding.ids) pieces.push_back(tokenizer.id_to_token(id));
  for (const auto& [begin, end] : encoding.offsets) offsets.push_back({begin, end});
  const Json document = {{"ids", encoding.ids}, {"pieces", pieces}, {"offsets", offsets}};
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// The next lines of `in`; empty at its end. Lines end at "\n" alone.
std::vector<std::string> next_block(std::istream& in) {
  std::vector<std::string> lines;
  size_t bytes = 0;
  std::string line;
  while (lines.size() < kBlockLines && bytes < kBlockBytes && std::getline(in, line)) {
    bytes += line.size();
    lines.push_back(std::move(line));
  }
  return lines;
}

void write_all(std::istream& in, std::ostream& out, const tokenizers::Tokenizer& tokenizer, const Settings& settings) {
  for (auto lines = next_block(in); !lines.empty(); lines = next_block(in)) {
    at::parallel_for(0, static_cast<int64_t>(lines.size()), 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) lines[size_t(i)] = line_of(tokenizer, lines[size_t(i)], settings);
    });
    for (const auto& line : lines) out << line << '\n';
    if (!out) throw std::runtime_error("tokenize: the output cannot be written (is the disk full?)");
  }
  out.flush();
}

void write_input(const std::string& input, std::ostream& out, const tokenizers::Tokenizer& tokenizer, const Settings& settings) {
  if (input == "-") return write_all(std::cin, out, tokenizer, settings);
  std::ifstream in(input, std::ios::binary);
  if (!in || std::filesystem::is_directory(input)) throw std::runtime_error(input + ": cannot be read as a text file");
  write_all(in, out, tokenizer, settings);
}

[[noreturn]] void refuse_training() { throw UsageError("tokenize has nothing to train or to evaluate; use zoo run --task tokenize"); }

class Tokenize : public Task {
 public:
  std::string name() const override { return "tokenize"; }
  bool needs_network() const override { return false; }
  std::unique_ptr<Dataset> open(const std::filesystem::path&, const Bundle&, const DataOptions&) const override { refuse_training(); }
  at::Tensor loss(const Tensors&, const Tensors&, const Json&) const override { refuse_training(); }
  std::unique_ptr<Metrics> metrics(const Bundle&) const override { refuse_training(); }
  std::string primary_metric() const override { return ""; }

  // The result is one line for each line of input, so there is no document beside it.
  Json run(Bundle& bundle, const RunOptions& options) const override {
    const Settings settings{options.json || options.format == "json", options.options.value("max_length", size_t{0})};
    std::vector<std::string> inputs = options.inputs;
    const bool file = !options.text.empty() && on_disk(options.text);
    if (file || options.text == "-") inputs.insert(inputs.begin(), options.text);
    const bool sentence = !options.text.empty() && !file && options.text != "-";
    if (inputs.empty() && !sentence) throw UsageError("tokenize: no text; give --input FILE, --input \"a sentence\", or - for standard input");
    if (options.out.empty()) {
      write_to(std::cout, inputs, sentence ? options.text : "", *bundle.tokenizer, settings);
      return nullptr;
    }
    refuse_existing(options.out, options.overwrite);
    auto partial = options.out;
    partial += ".partial";
    std::ofstream out(partial, std::ios::binary);
    if (!out) throw std::runtime_error(partial.string() + ": cannot be written");
    write_to(out, inputs, sentence ? options.text : "", *bundle.tokenizer, settings);
    out.close();
    std::filesystem::rename(partial, options.out);
    return nullptr;
  }

 private:
  static void write_to(std::ostream& out, const std::vector<std::string>& inputs, const std::string& sentence,
                       const tokenizers::Tokenizer& tokenizer, const Settings& settings) {
    if (!sentence.empty()) out << line_of(tokenizer, sentence, settings) << '\n';
    for (const auto& input : inputs) write_input(input, out, tokenizer, settings);
  }
};

}  // namespace tokenize_detail

const Task& tokenize_task() {
  static const tokenize_detail::Tokenize task;
  return task;
}

}  // namespace zoo::app
