// Question answering: the part of a text that answers a question (SQuAD), found in windows over long texts.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "app/cli.h"
#include "app/tasks/classification_metrics.h"
#include "app/tasks/option_values.h"
#include "app/tasks/squad_data.h"
#include "app/tasks/text_batches.h"
#include "app/tasks/text_predictions.h"
#include "metrics/answers.h"

namespace zoo::app {
namespace question_answering_detail {

constexpr int64_t kMaxLength = 384, kStride = 128, kLongestAnswer = 30;  // of transformers' examples/pytorch/question-answering/run_qa.py
constexpr size_t kBest = 20;  // starts and ends of a window that are paired, and answers that share the probability

// ---- windows ----

struct Window {
  tokenizers::Encoding encoding;
  size_t begin = 0, end = 0;  // its tokens of the context
  size_t none = 0;            // the token that stands for "no answer": [CLS], else the first
};

struct WindowOptions {
  tokenizers::Truncation cut;
  size_t longest_answer = kLongestAnswer;
  bool may_lack = false;       // "no answer" is an answer
  double null_threshold = 0;   // it must be better by more than this
};

WindowOptions window_options(const Bundle& bundle, const Json& options) {
  WindowOptions wanted;
  const int64_t most = text_limit(bundle, options);
  wanted.cut.max_length = static_cast<size_t>(options.contains("max_length") ? most : std::min(most, kMaxLength));
  wanted.cut.strategy = tokenizers::Truncation::Strategy::only_second;
  const int64_t usual = std::min(kStride, static_cast<int64_t>(wanted.cut.max_length) / 4);
  wanted.cut.stride = static_cast<size_t>(count_option(options, "doc_stride", usual));
  wanted.longest_answer = static_cast<size_t>(count_option(options, "max_answer_length", kLongestAnswer));
  wanted.may_lack = options.value("no_answer", false);
  const Json threshold = options.value("null_threshold", Json(0.0));
  if (!threshold.is_number()) throw UsageError("null_threshold is " + threshold.dump() + "; a number is expected");
  wanted.null_threshold = threshold.get<double>();
  return wanted;
}

std::vector<Window> windows_of(const Question& question, const tokenizers::Tokenizer& tokenizer, const WindowOptions& options) {
  const size_t first = question.question.find_first_not_of(" \t\r\n");
  const std::string asked = first == std::string::npos ? "" : question.question.substr(first);
  const size_t asked_tokens = tokenizer.encode_bare(asked).ids.size();
  std::vector<Window> windows;
  try {
    for (auto& encoding : tokenizer.encode_windows(asked, question.context, options.cut)) {
      Window window{std::move(encoding)};
      const auto& special = window.encoding.special;
      size_t place = 0, seen = 0;
      while (place < special.size() && (special[place] || seen < asked_tokens)) seen += !special[place++];
      window.begin = window.end = place;
      while (window.end < special.size() && !special[window.end]) ++window.end;
      const auto& ids = window.encoding.ids;
      const auto cls = tokenizer.cls_id() ? std::find(ids.begin(), ids.end(), *tokenizer.cls_id()) : ids.end();
      window.none = cls == ids.end() ? 0 : static_cast<size_t>(cls - ids.begin());
      windows.push_back(std::move(window));
    }
  } catch (const std::invalid_argument& error) {
    throw UsageError(question.source + ": " + error.what() + " (max_length " + std::to_string(options.cut.max_length) + ", doc_stride " +
                     std::to_string(options.cut.stride) + ", the question has " + std::to_string(asked_tokens) + " tokens)");
  }
  return windows;
}

// First and last token of the answer; that of "no answer" where the window does not hold all of it.
std::pair<int64_t, int64_t> answer_tokens(const Question& question, const Window& window) {
  const auto none = std::pair(static_cast<int64_t>(window.none), static_cast<int64_t>(window.none));
  const auto& offsets = window.encoding.offsets;
  if (question.answer_end == 0 || window.begin == window.end) return none;
  if (offsets[window.begin].first > question.answer_begin || offsets[window.end - 1].second < question.answer_end) return none;
  size_t first = window.begin, last = window.end - 1;
  while (first + 1 < window.end && offsets[first + 1].first <= question.answer_begin) ++first;
  while (last > window.begin && offsets[last - 1].second >= question.answer_end) --last;
  return {static_cast<int64_t>(first), static_cast<int64_t>(last)};
}

// ---- answers ----

struct Answer {
  double score = 0;           // start logit + end logit
  size_t begin = 0, end = 0;  // in bytes of the context; both 0: none
};

struct Scored {
  std::vector<Window> windows;
  std::vector<std::vector<float>> starts, ends;  // logits of each window's tokens
};

std::vector<size_t> best_places(const std::vector<float>& logits) {
  std::vector<size_t> places(logits.size());
  std::iota(places.begin(), places.end(), size_t{0});
  const size_t count = std::min(kBest, places.size());
  std::partial_sort(places.begin(), places.begin() + static_cast<std::ptrdiff_t>(count), places.end(),
                    [&](size_t a, size_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a > b; });
  places.resize(count);
  return places;
}

// The best answers, best first, at most kBest (run_qa.py's post-processing): of each window the likeliest starts with the likeliest
// ends, inside the context, in order and not too long. "No answer" is judged by the window where it is least likely.
std::vector<Answer> answers_of(const Scored& scored, const WindowOptions& options) {
  std::vector<Answer> answers;
  double none = std::numeric_limits<double>::infinity();
  for (size_t w = 0; w < scored.windows.size(); ++w) {
    const Window& window = scored.windows[w];
    const auto &starts = scored.starts[w], &ends = scored.ends[w];
    none = std::min(none, static_cast<double>(starts[window.none]) + static_cast<double>(ends[window.none]));
    const auto last_places = best_places(ends);
    for (const size_t first : best_places(starts)) {
      for (const size_t last : last_places) {
        if (first < window.begin || last >= window.end || last < first || last - first + 1 > options.longest_answer) continue;
        answers.push_back({static_cast<double>(starts[first]) + static_cast<double>(ends[last]), window.encoding.offsets[first].first,
                           window.encoding.offsets[last].second});
      }
    }
  }
  if (options.may_lack || answers.empty()) answers.push_back({none});
  std::stable_sort(answers.begin(), answers.end(), [](const Answer& a, const Answer& b) { return a.score > b.score; });
  const bool cut = answers.size() > kBest;
  const auto lacking = std::find_if(answers.begin(), answers.end(), [](const Answer& a) { return a.end == 0; });
  const Answer null = lacking == answers.end() ? Answer() : *lacking;
  if (cut) answers.resize(kBest);
  if (!options.may_lack) return answers;
  std::erase_if(answers, [](const Answer& a) { return a.end == 0; });
  const bool wins = answers.empty() || null.score - answers.front().score > options.null_threshold;
  answers.insert(wins ? answers.begin() : answers.end(), null);
  return answers;
}

std::vector<double> probabilities_of(const std::vector<Answer>& answers) {
  double most = answers.front().score, sum = 0;
  for (const auto& answer : answers) most = std::max(most, answer.score);
  std::vector<double> shares;
  for (const auto& answer : answers) sum += shares.emplace_back(std::exp(answer.score - most));
  for (double& share : shares) share /= sum;
  return shares;
}

std::string text_of(const Question& question, const Answer& answer) { return question.context.substr(answer.begin, answer.end - answer.begin); }

std::vector<float> row_of(const at::Tensor& logits, int64_t row, size_t length) {
  const float* from = logits.const_data_ptr<float>() + row * logits.size(1);
  return {from, from + length};
}

// ---- the data set: an example is a question with all its windows ----

class QuestionSet : public Dataset {
 public:
  QuestionSet(const Bundle& bundle, Questions questions, const Json& options)
      : tokenizer_(tokenizer_of(bundle)), questions_(std::move(questions)), options_(window_options(bundle, options)), pad_(pad_id_of(bundle)) {
    options_.may_lack = options_.may_lack || questions_.has_impossible;
  }
  int64_t size() const override { return static_cast<int64_t>(questions_.all.size()); }
  int64_t batch_size() const override { return 16; }
  int64_t length(int64_t index) const override { return static_cast<int64_t>(questions_.all[index].context.size()); }
  std::string split() const override { return questions_.split; }
  std::string describe(int64_t index) const override { return questions_.all[index].question; }
  const Question& question(int64_t index) const { return questions_.all[index]; }
  const WindowOptions& options() const { return options_; }
  std::vector<Window> windows(int64_t index) const { return windows_of(questions_.all[index], tokenizer_, options_); }

  // A row for each window: tokens [R, T], mask and token_types where needed, answer_start and answer_end [R], question [R] (which of
  // `indices` a row belongs to).
  Tensors get(std::span<const int64_t> indices, bool /*training*/, uint64_t /*seed*/) const override {
    std::vector<tokenizers::Encoding> rows;
    std::vector<int64_t> starts, ends, owners;
    for (size_t i = 0; i < indices.size(); ++i) {
      for (auto& window : windows(indices[i])) {
        const auto [first, last] = answer_tokens(questions_.all[indices[i]], window);
        starts.push_back(first);
        ends.push_back(last);
        owners.push_back(static_cast<int64_t>(i));
        rows.push_back(std::move(window.encoding));
      }
    }
    Tensors batch = pad_encodings(rows, pad_);
    batch["answer_start"] = at::tensor(starts, at::kLong);
    batch["answer_end"] = at::tensor(ends, at::kLong);
    batch["question"] = at::tensor(owners, at::kLong);
    return batch;
  }

 private:
  const tokenizers::Tokenizer& tokenizer_;  // of a bundle, which outlives its data sets
  Questions questions_;
  WindowOptions options_;
  int64_t pad_;
};

at::Tensor span_loss(const Tensors& outputs, const Tensors& batch, const Json& options) {
  return (classification_loss(outputs.at("start_logits"), batch.at("answer_start"), options) +
          classification_loss(outputs.at("end_logits"), batch.at("answer_end"), options)) / 2;
}

// SQuAD's two figures over all questions, and the loss over all windows.
class AnswerMetrics : public Metrics {
 public:
  explicit AnswerMetrics(const QuestionSet* set) : set_(set) {}

  void add(const Tensors& outputs, const Tensors& batch, std::span<const int64_t> indices) override {
    const int64_t rows = batch.at("question").size(0);
    loss_sum_ += span_loss(outputs, batch, Json::object()).item<double>() * static_cast<double>(rows);
    windows_ += rows;
    const at::Tensor starts = outputs.at("start_logits").detach().to(at::kCPU, at::kFloat).contiguous();
    const at::Tensor ends = outputs.at("end_logits").detach().to(at::kCPU, at::kFloat).contiguous();
    int64_t row = 0;
    for (const int64_t index : indices) {
      Scored scored{set_->windows(index), {}, {}};
      for (const auto& window : scored.windows) {
        scored.starts.push_back(row_of(starts, row, window.encoding.ids.size()));
        scored.ends.push_back(row_of(ends, row++, window.encoding.ids.size()));
      }
      const auto answers = answers_of(scored, set_->options());
      written_.push_back(text_of(set_->question(index), answers.front()));
      golds_.push_back(set_->question(index).answers);
      asked_.push_back(index);
    }
  }
  Json result() const override {
    const auto [exact, f1] = figures(false);
    Json result = {{"exact_match", exact}, {"f1", f1}};
    if (set_->options().may_lack) {
      const auto [answered_exact, answered_f1] = figures(true);
      result["has_answer_exact_match"] = answered_exact;
      result["has_answer_f1"] = answered_f1;
    }
    result["loss"] = loss_sum_ / static_cast<double>(std::max<int64_t>(windows_, 1));
    result["windows"] = windows_;
    result["samples"] = written_.size();
    return result;
  }
  Json details() const override {
    Json answers = Json::object();
    for (size_t i = 0; i < written_.size(); ++i) answers[set_->question(asked_[i]).id] = written_[i];
    return {{"answers", std::move(answers)}};  // as SQuAD's own scripts take them
  }

 private:
  std::pair<double, double> figures(bool answered_only) const {
    metrics::Texts hypotheses;
    metrics::References references;
    size_t most = 1;
    for (const auto& gold : golds_) most = std::max(most, gold.size());
    references.resize(most);
    for (size_t i = 0; i < written_.size(); ++i) {
      if (answered_only && golds_[i].empty()) continue;
      hypotheses.push_back(written_[i]);
      for (size_t k = 0; k < most; ++k)  // fewer answers than others: the last one again
        references[k].push_back(golds_[i].empty() ? "" : golds_[i][std::min(k, golds_[i].size() - 1)]);
    }
    if (hypotheses.empty()) return {0, 0};
    const auto squad = metrics::squad(hypotheses, references);
    return {squad.exact_match, squad.f1};
  }

  const QuestionSet* set_;
  std::vector<std::string> written_;
  std::vector<std::vector<std::string>> golds_;
  std::vector<int64_t> asked_;
  double loss_sum_ = 0;
  int64_t windows_ = 0;
};

// ---- run ----

// Questions as inputs: the question is the text, the context its pair.
RunInputs asked_questions(const RunOptions& options) {
  std::vector<TextInput> inputs;
  const std::string context = options.options.value("pair", "");
  auto files = options.inputs;
  if (context.empty() && names_file(options.text)) {
    files.insert(files.begin(), options.text);
  } else if (!options.text.empty() || !context.empty()) {
    if (options.text.empty() || context.empty()) throw UsageError("--input is the question and --pair the text that holds its answer; both are needed");
    inputs.push_back({options.text, "argument", context, "0"});
  }
  for (const auto& file : files) {
    for (auto& one : read_questions(file, "", options.options, 0, /*need_answers=*/false).all)
      inputs.push_back({std::move(one.question), std::move(one.source), std::move(one.context), std::move(one.id)});
  }
  return held_run_inputs(std::move(inputs));
}

// The network over all windows, sorted by length.
std::vector<Scored> score_all(Bundle& bundle, const std::vector<Question>& questions, const WindowOptions& options, int64_t batch_size,
                              const std::function<void(int64_t)>& done) {
  std::vector<Scored> scored(questions.size());
  std::vector<size_t> left(questions.size());  // windows of each question
  std::vector<std::pair<size_t, size_t>> places;
  std::vector<int64_t> lengths;
  for (size_t i = 0; i < questions.size(); ++i) {
    scored[i].windows = windows_of(questions[i], tokenizer_of(bundle), options);
    left[i] = scored[i].windows.size();
    scored[i].starts.resize(scored[i].windows.size());
    scored[i].ends.resize(scored[i].windows.size());
    for (size_t w = 0; w < scored[i].windows.size(); ++w) {
      places.emplace_back(i, w);
      lengths.push_back(static_cast<int64_t>(scored[i].windows[w].encoding.ids.size()));
    }
  }
  const auto encoding = [&](int64_t index) { return &scored[places[index].first].windows[places[index].second].encoding; };
  const auto compute = [&](std::span<const int64_t> batch) {
    std::vector<const tokenizers::Encoding*> members;
    for (const int64_t index : batch) members.push_back(encoding(index));
    const Tensors outputs = bundle.model->forward(to_device(pad_encodings(members, pad_id_of(bundle)), bundle.device));
    if (!outputs.count("start_logits")) throw UsageError(bundle.spec + ": the network gives no start_logits; it was loaded without the head for this task");
    Tensors read;
    for (const char* name : {"start_logits", "end_logits"}) read[name] = outputs.at(name).to(at::kCPU, at::kFloat).contiguous();
    return read;
  };
  for_each_batch(bundle, lengths, batch_size, compute, [&](std::span<const int64_t> batch, const Tensors& outputs) {
    for (size_t row = 0; row < batch.size(); ++row) {
      const auto [i, w] = places[batch[row]];
      const size_t tokens = encoding(batch[row])->ids.size();
      scored[i].starts[w] = row_of(outputs.at("start_logits"), static_cast<int64_t>(row), tokens);
      scored[i].ends[w] = row_of(outputs.at("end_logits"), static_cast<int64_t>(row), tokens);
      if (--left[i] == 0) done(1);
    }
  });
  return scored;
}

int64_t characters(const std::string& text, size_t bytes) {
  return std::count_if(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(bytes), [](unsigned char c) { return (c & 0xC0) != 0x80; });
}

Json prediction_of(const Question& question, const std::vector<Answer>& answers, int64_t top) {
  const auto shares = probabilities_of(answers);
  Json all = Json::array();
  for (size_t i = 0; i < answers.size() && static_cast<int64_t>(i) < top; ++i) {
    all.push_back({{"answer", text_of(question, answers[i])}, {"score", shares[i]},
                   {"start", characters(question.context, answers[i].begin)}, {"end", characters(question.context, answers[i].end)}});
  }
  Json one = {{"source", question.source}, {"id", question.id}, {"question", question.question}};
  one.update(all.front());
  if (top > 1) one["answers"] = std::move(all);
  return one;
}

OutputRow output_row(Json prediction) {
  OutputRow row;
  const auto field = [&](const char* key) { return prediction.at(key).get<std::string>(); };
  const Json answers = prediction.value("answers", Json::array({prediction}));
  for (const Json& answer : answers) {
    const std::string text = answer.at("answer").get<std::string>();
    row.text += probability_text(answer.at("score").get<double>()) + "  " + (text.empty() ? "(no answer)" : text) + "  " + field("question") + "\n";
    row.table.push_back({field("source"), field("id"), field("question"), text, answer.at("score").dump(), answer.at("start").dump(), answer.at("end").dump()});
  }
  row.json = std::move(prediction);
  return row;
}

class QuestionAnswering : public Task {
 public:
  std::string name() const override { return "question_answering"; }
  std::vector<std::string> option_names() const override {
    return {"columns", "max_length", "doc_stride", "max_answer_length", "no_answer", "null_threshold"};
  }
  std::string primary_metric() const override { return "f1"; }

  std::unique_ptr<Dataset> open(const std::filesystem::path& data, const Bundle& bundle, const DataOptions& options) const override {
    return std::make_unique<QuestionSet>(bundle, read_questions(data, options.split, options.options, options.limit, /*need_answers=*/true), options.options);
  }
  at::Tensor loss(const Tensors& outputs, const Tensors& batch, const Json& options) const override { return span_loss(outputs, batch, options); }
  double loss_terms(const Tensors& batch) const override { return static_cast<double>(batch.at("question").size(0)); }
  std::unique_ptr<Metrics> metrics(const Bundle&, const Dataset& data) const override {
    return std::make_unique<AnswerMetrics>(&dynamic_cast<const QuestionSet&>(data));
  }
  std::unique_ptr<Metrics> metrics(const Bundle&) const override {
    throw std::logic_error("question_answering: the figures need the data set");
  }

  bool resumes() const override { return true; }
  Json run(Bundle& bundle, const RunOptions& options) const override {
    const int64_t top = count_option(options.options, "top_k", 1);
    const WindowOptions wanted = window_options(bundle, options.options);
    OutputForms forms;
    forms.head = {{"task", "question_answering"}};
    forms.header = {"source", "id", "question", "answer", "score", "start", "end"};
    return run_predictions(bundle, options, std::move(forms), asked_questions(options),
                           "no questions: give --input QUESTION --pair TEXT, or files: .json (SQuAD), .jsonl, .csv, .tsv", [&](const auto& window, const auto& done) {
      std::vector<Question> questions;
      for (const auto& input : window) questions.push_back({input.id, input.text, input.pair, input.source, {}});
      const auto scored = score_all(bundle, questions, wanted, options.batch_size, done);
      std::vector<OutputRow> rows;
      for (size_t i = 0; i < questions.size(); ++i) rows.push_back(output_row(prediction_of(questions[i], answers_of(scored[i], wanted), top)));
      return rows;
    });
  }
};

}  // namespace question_answering_detail

const Task& question_answering_task() {
  static const question_answering_detail::QuestionAnswering task;
  return task;
}

}  // namespace zoo::app
