#include "app/tasks/text_writing.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iostream>
#include <limits>
#include <mutex>
#include <optional>

#include "app/cli.h"
#include "app/engine/evaluation_cache.h"
#include "app/engine/stop_strings.h"
#include "app/engine/token_trie.h"
#include "app/files.h"
#include "app/report/progress.h"
#include "app/tasks/labelled_text.h"
#include "app/tasks/option_values.h"
#include "app/tasks/row_output.h"
#include "app/tasks/text_batches.h"
#include "app/tasks/text_stream.h"
#include "app/workers.h"
#include "data/plain_lines.h"
#include "models/names.h"

namespace zoo::app {
namespace text_writing_detail {

// ---- options ----

// The keys of `options` that say how to generate.
Json generation_part(const Json& options) {
  Json wanted = Json::object();
  for (const auto& key : generation_keys())  // "max_length" means the input's in every text task
    if (key != "max_length" && options.contains(key)) wanted[key] = options.at(key);
  return wanted;
}

// generation_config.json. Older folders have none, or one without the ends of a text: config.json then has them.
Json stored_options(const Bundle& bundle) {
  const auto path = bundle.folder / "generation_config.json";
  Json stored = !bundle.folder.empty() && on_disk(path) ? read_json(path) : Json::object();
  for (const char* key : {"eos_token_id", "decoder_start_token_id"}) {
    const auto configured = bundle.config.find(key);
    if (!stored.empty() && !stored.contains(key) && configured != bundle.config.end()) stored[key] = *configured;
  }
  return stored;
}

bool has_encoder(const Bundle& bundle) {
  const auto* network = dynamic_cast<const IncrementalDecoder*>(bundle.model.get());
  return network && network->has_encoder();
}

// The ids of an output as the decoder writes it, up to its end: special tokens in front (BART's <s>) belong to it.
std::vector<int64_t> prefix_of(const Bundle& bundle, const std::string& text) {
  if (!has_encoder(bundle)) throw std::invalid_argument("prefix is for networks with an encoder; what this one goes on from stands at the end of its input");
  auto encoding = tokenizer_of(bundle).encode(text);
  check_ids(bundle, {&encoding, 1});
  while (!encoding.ids.empty() && encoding.special.back()) {
    encoding.ids.pop_back();
    encoding.special.pop_back();
  }
  if (encoding.ids.empty()) throw std::invalid_argument("prefix '" + text.substr(0, 80) + "' has no tokens");
  return encoding.ids;
}

void allow_only(const Bundle& bundle, const std::string& file, bool length_given, GenerationOptions& how) {
  if (!how.prefix.empty()) throw std::invalid_argument("prefix and allowed do not go together; write the prefix in front of each allowed output");
  if (how.eos.empty()) throw std::invalid_argument("allowed needs an eos_token_id, with which the outputs end");
  auto trie = std::make_shared<TokenTrie>();
  for (const auto& text : data::read_lines(file)) {
    if (text.empty()) continue;
    auto encoding = has_encoder(bundle) ? tokenizer_of(bundle).encode(text) : tokenizer_of(bundle).encode_bare(text);
    check_ids(bundle, {&encoding, 1});
    if (encoding.ids.empty() || std::count(how.eos.begin(), how.eos.end(), encoding.ids.back()) == 0) encoding.ids.push_back(how.eos.front());
    trie->add(encoding.ids);
  }
  if (trie->longest() == 0) throw std::invalid_argument(file + ": no texts; the allowed outputs are expected, one a line");
  how.allowed = trie;
  if (length_given) return;
  how.max_length = 0;
  how.max_new_tokens = trie->longest();
}

// ---- batches ----

constexpr int64_t kRowsAtOnce = 32;
constexpr int64_t kWindowBatches = 32;                // read ahead so many batches and sort them by length

int64_t rows_of(int64_t wanted, const GenerationOptions& how) {
  return wanted > 0 ? wanted : std::max<int64_t>(1, kRowsAtOnce / how.num_beams);
}

// Indices of `encodings` in batches. `equal_lengths`: no padding.
std::vector<std::vector<int64_t>> batches_of(std::span<const tokenizers::Encoding> encodings, int64_t rows, bool equal_lengths) {
  std::vector<int64_t> lengths;
  for (const auto& encoding : encodings) lengths.push_back(static_cast<int64_t>(encoding.ids.size()));
  BatchBudget budget;
  budget.rows = rows;
  budget.equal_lengths = equal_lengths;
  return batches_by_length(lengths, budget);
}

// For `batch`, indices of `encodings`, writes into `answers`. `first`: number of encoding 0 among all inputs, which seeds the sampling.
void write_batch(const Bundle& bundle, Generator& write, GenerationOptions how, std::span<const tokenizers::Encoding> encodings, const std::vector<int64_t>& batch,
                 int64_t first, std::vector<Json>& answers) {
  std::vector<const tokenizers::Encoding*> members;
  std::vector<int64_t> written;
  for (const int64_t index : batch) {
    answers[index] = Json::array();
    if (encodings[index].ids.empty()) continue;  // nothing in, nothing out
    members.push_back(&encodings[index]);
    written.push_back(index);
    how.seeds.push_back(how.seed + static_cast<uint64_t>(first + index));
  }
  if (members.empty()) return;
  const auto results = write(to_device(pad_encodings(members, pad_id_of(bundle)), bundle.device), how);
  for (size_t i = 0; i < written.size(); ++i) {
    for (const auto& one : results[i]) {
      Json answer = {{"text", tokenizer_of(bundle).decode(one.ids, /*skip_special=*/true)}, {"ids", one.ids}};
      if (how.num_beams > 1) answer["score"] = one.score;
      answers[written[i]].push_back(std::move(answer));
    }
  }
}

// Empty texts have nothing to be read, whatever special tokens the tokenizer adds.
std::vector<tokenizers::Encoding> encoded(const Bundle& bundle, std::span<const std::string> texts, int64_t limit) {
  auto encodings = encode_texts(tokenizer_of(bundle), texts, {}, limit);
  check_ids(bundle, encodings);
  for (size_t i = 0; i < texts.size(); ++i)
    if (texts[i].empty()) encodings[i] = {};
  return encodings;
}

// ---- zoo run ----

// Prints a text while it is being written: what is certain of it, so that no character comes in parts.
class Printer {
 public:
  explicit Printer(const tokenizers::Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  void begin(std::vector<int64_t> prefix) {
    ids_ = std::move(prefix);
    printed_.clear();
  }
  void add(int64_t id) {
    ids_.push_back(id);
    std::string text = tokenizer_.decode(ids_, /*skip_special=*/true);
    while (text.ends_with(kMalformed)) text.resize(text.size() - kMalformed.size());  // perhaps the beginning of a character
    print(text);
  }
  void end() {
    print(tokenizer_.decode(ids_, /*skip_special=*/true));
    std::cout << std::endl;
  }

 private:
  static constexpr std::string_view kMalformed = "\xEF\xBF\xBD";
  void print(const std::string& text) {
    if (text.size() <= printed_.size() || !text.starts_with(printed_)) return;
    std::cout << text.substr(printed_.size()) << std::flush;
    printed_ = text;
  }

  const tokenizers::Tokenizer& tokenizer_;
  std::vector<int64_t> ids_;
  std::string printed_;
};

std::string cut_note(int64_t limit) { return "longer than " + std::to_string(limit) + " tokens; cut there (option max_length)"; }

const std::vector<std::string>& run_keys() {
  static const std::vector<std::string> keys = [] {
    std::vector<std::string> all = generation_keys();
    all.insert(all.end(), {"column", "prefix", "allowed"});
    return all;
  }();
  return keys;
}

void check_run_options(const RunOptions& options) {
  for (const auto& [key, value] : options.options.items()) {
    if (std::find(run_keys().begin(), run_keys().end(), key) != run_keys().end()) continue;
    throw UsageError("unknown option '" + key.substr(0, 80) + "'; nearest: " + join(nearest(key, run_keys())));
  }
}

// What decides the results beside the inputs.
Json settings_of(const Bundle& bundle, const RunOptions& options, const GenerationOptions& how) {
  Json settings = run_settings(bundle, options);
  EvaluationCache hashes(EvaluationCache::default_folder());
  settings["allowed outputs"] = options.options.contains("allowed") ? Json(hashes.identity(text_option(options.options, "allowed"))) : Json();
  settings["seed"] = how.seed;
  return settings;
}

class BatchRun {
 public:
  BatchRun(Bundle& bundle, const RunOptions& options, bool continues)
      : bundle_(bundle), options_(options), continues_(continues), write_(*bundle.model), how_(generation_of(bundle, options.options)),
        limit_(text_limit(bundle, options.options)), rows_(options.stream ? 1 : rows_of(options.batch_size, how_)), stream_(options),
        printer_(tokenizer_of(bundle)) {
    if (!options.stream) return;
    if (!options.out.empty() || options.json || how_.num_beams > 1 || how_.num_return_sequences > 1) {
      throw UsageError("--stream prints the one text that is being written: not with --out, --json, num_beams or num_return_sequences above 1");
    }
    how_.on_token = [this](int64_t, int64_t id) { printer_.add(id); };
  }

  Json run() {
    RowRun run;
    run.forms.formats = {"text", "json", "jsonl"};
    run.settings = [this] { return settings_of(bundle_, options_, how_); };
    run.title = "write";
    run.show_from = 0;
    run.total = count_texts(options_);
    run.window = rows_ == 1 ? 1 : rows_ * kWindowBatches;
    run.next = [this](TextInput& input) { return next(input); };
    run.predict = [this](const auto& window, int64_t first, const auto& stop, const auto& done) { return write_window(window, first, stop, done); };
    Json document = run_rows(options_, run, kNoTexts);
    troubles_.close();
    if (cut_ > 0) spdlog::warn("{} of {} texts are longer than {} tokens and were cut there (option max_length)", cut_, written_, limit_);
    return document;
  }

 private:
  bool next(TextInput& input) {
    StreamedText text;
    if (ahead_) {
      text = std::move(*ahead_);
      ahead_.reset();
    } else if (!stream_.next(text)) {
      return false;
    }
    input = {std::move(text.text), std::move(text.source)};
    input.trouble = std::move(text.trouble);
    return true;
  }

  RowRun::Rows write_window(const std::vector<TextInput>& window, int64_t first, const std::function<bool()>& stop, const std::function<void(int64_t)>& done) {
    std::vector<std::string> texts;
    for (const auto& input : window) texts.push_back(input.text);
    auto encodings = encoded(bundle_, texts, limit_);
    for (size_t i = 0; i < window.size(); ++i) {
      if (!window[i].trouble.empty()) troubles_.add(window[i].source, window[i].trouble);
      if (!is_cut(encodings[i], texts[i], {}, limit_)) continue;
      ++cut_;
      troubles_.add(window[i].source, cut_note(limit_));
    }
    if (continues_) leave_out_long_prompts(window, first, encodings);
    std::vector<Json> answers(texts.size());
    const auto batches = batches_of(encodings, rows_, continues_);
    const int64_t workers = options_.stream ? 1 : std::max<int64_t>(1, bundle_.workers);
    std::mutex mutex;  // of what is told while the batches are written
    bool stopped = false;
    side_by_side(workers, static_cast<int64_t>(batches.size()), [&](int64_t number) {
      const auto& batch = batches[static_cast<size_t>(number)];
      {
        const std::lock_guard lock(mutex);
        if (stopped = stopped || stop(); stopped) return;
      }
      if (options_.stream) printer_.begin(how_.prefix);
      if (workers == 1) {
        write_batch(bundle_, write_, how_, encodings, batch, first, answers);
      } else {
        Generator own(*bundle_.model);
        write_batch(bundle_, own, how_, encodings, batch, first, answers);
      }
      if (options_.stream) printer_.end();
      const std::lock_guard lock(mutex);
      done(static_cast<int64_t>(batch.size()));
    });
    if (stopped) return std::nullopt;
    written_ += static_cast<int64_t>(window.size());
    std::vector<OutputRow> rows;
    for (size_t i = 0; i < window.size(); ++i) {
      const std::string line = options_.stream ? "" : line_of(answers[i]) + "\n";  // streamed: printed already
      rows.push_back({{{"input", window[i].text}, {"outputs", std::move(answers[i])}}, line, {}});
    }
    return rows;
  }

  // A prompt that leaves no room is its own line's trouble; where there is nothing else, the options are wrong.
  void leave_out_long_prompts(const std::vector<TextInput>& window, int64_t first, std::vector<tokenizers::Encoding>& encodings) {
    std::string trouble;
    for (size_t i = 0; i < encodings.size(); ++i) {
      if (encodings[i].ids.empty()) continue;
      const std::string found = prompt_trouble(*bundle_.model, how_, static_cast<int64_t>(encodings[i].ids.size()));
      if (found.empty()) {
        any_fits_ = true;
        continue;
      }
      trouble = found;
      encodings[i] = {};
      troubles_.add(window[i].source, "nothing is written for it: " + found);
    }
    if (!trouble.empty() && !any_fits_ && first == 0 && at_end()) throw std::invalid_argument(trouble);
  }

  bool at_end() {
    StreamedText text;
    if (ahead_) return false;
    if (!stream_.next(text)) return true;
    ahead_ = std::move(text);
    return false;
  }

  Bundle& bundle_;
  const RunOptions& options_;
  bool continues_;
  Generator write_;
  GenerationOptions how_;
  int64_t limit_, rows_;
  TextStream stream_;
  Printer printer_;
  std::optional<StreamedText> ahead_;  // read to see whether there is more
  Troubles troubles_;
  int64_t written_ = 0, cut_ = 0;
  bool any_fits_ = false;  // of the prompts so far
};

}  // namespace text_writing_detail

GenerationOptions generation_of(const Bundle& bundle, const Json& options) {
  namespace d = text_writing_detail;
  const Json stored = d::stored_options(bundle);
  const auto unfollowed = unfollowed_keys(stored);
  if (!unfollowed.empty()) spdlog::warn("generation_config.json: {} would change the texts in transformers and is passed over here", join(unfollowed));
  generation_options(bundle.config, stored, Json::object());  // what is wrong in the folder is no mistake of the command line
  try {
    GenerationOptions how = generation_options(bundle.config, stored, d::generation_part(options));
    if (how.pad < 0) how.pad = pad_id_of(bundle);
    how.seed = at::globalContext().defaultGenerator(at::kCPU).current_seed();
    if (!how.stop_strings.empty()) how.stop = std::make_shared<StopStrings>(how.stop_strings, tokenizer_of(bundle));
    if (options.contains("prefix")) how.prefix = d::prefix_of(bundle, text_option(options, "prefix"));
    if (options.contains("allowed")) d::allow_only(bundle, text_option(options, "allowed"), options.contains("max_new_tokens"), how);
    return how;
  } catch (const std::invalid_argument& error) {
    throw UsageError(error.what());
  }
}

int64_t vocabulary_of(const Bundle& bundle) { return bundle.config.value("vocab_size", std::numeric_limits<int64_t>::max()); }

void check_ids(const Bundle& bundle, std::span<const tokenizers::Encoding> encodings) { check_ids(tokenizer_of(bundle), vocabulary_of(bundle), encodings); }

void check_ids(const tokenizers::Tokenizer& tokenizer, int64_t vocabulary, std::span<const tokenizers::Encoding> encodings) {
  for (const auto& encoding : encodings) {
    for (const int64_t id : encoding.ids) {
      if (id < vocabulary) continue;
      throw std::runtime_error("the tokenizer gives id " + std::to_string(id) + " of its " + std::to_string(tokenizer.vocab_size()) +
                               " tokens; the network's embedding has vocab_size " + std::to_string(vocabulary) + " rows (put the network's own tokenizer in the folder)");
    }
  }
}

std::vector<Json> write_texts_for(Bundle& bundle, const GenerationOptions& how, std::span<const std::string> texts,
                                  std::span<const tokenizers::Encoding> given) {
  namespace d = text_writing_detail;
  std::vector<tokenizers::Encoding> encodings(given.begin(), given.end());
  for (size_t i = 0; i < texts.size(); ++i)
    if (texts[i].empty()) encodings[i] = {};
  std::vector<Json> answers(texts.size());
  Progress progress("write", static_cast<int64_t>(texts.size()), "texts");
  Generator write(*bundle.model);
  for (const auto& batch : d::batches_of(encodings, d::rows_of(0, how), /*equal_lengths=*/false)) {
    d::write_batch(bundle, write, how, encodings, batch, 0, answers);
    progress.add(static_cast<int64_t>(batch.size()));
  }
  return answers;
}

std::string line_of(const Json& results) {
  std::string line = results.empty() ? "" : results[0].at("text").get<std::string>();
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

Json run_writing(Bundle& bundle, const RunOptions& options, bool continues) {
  text_writing_detail::check_run_options(options);
  return text_writing_detail::BatchRun(bundle, options, continues).run();
}

}  // namespace zoo::app
