// Token classification: one label for each word of a sentence (named entities, parts of speech).
#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "app/cli.h"
#include "app/tasks/classification_metrics.h"
#include "app/tasks/entities.h"
#include "app/tasks/labelled_text.h"
#include "app/tasks/text_batches.h"
#include "app/tasks/text_predictions.h"
#include "data/conll.h"

namespace zoo::app {
namespace token_classification_detail {

constexpr int64_t kIgnored =
    -100;  // no label: special tokens, padding, and all pieces of a word but its first

// The label of each token: the first piece of a word carries the word's, all others kIgnored. `starts`: byte
// where each word begins in the joined sentence.
std::vector<int64_t> label_pieces(const tokenizers::Encoding& encoding, const std::vector<size_t>& starts,
                                  const std::vector<int64_t>& labels) {
  std::vector<int64_t> result(encoding.ids.size(), kIgnored);
  int64_t previous = -1;
  for (size_t t = 0; t < encoding.ids.size(); ++t) {
    if (encoding.special[t]) continue;
    const auto after = std::upper_bound(starts.begin(), starts.end(), encoding.offsets[t].first);
    const int64_t word = after - starts.begin() - 1;
    if (word != previous) result[t] = labels[word];
    previous = word;
  }
  return result;
}

class Sentences : public Dataset {
 public:
  Sentences(const Bundle& bundle, std::string split, const std::vector<data::LabelledTokens>& sentences,
            LabelIds labels, int64_t max_length)
      : split_(std::move(split)), names_(std::move(labels.names)), pad_(pad_id_of(bundle)) {
    std::vector<std::vector<size_t>> starts;
    for (const auto& sentence : sentences) {
      std::string text;
      starts.emplace_back();
      for (const auto& token : sentence.tokens) {
        if (!text.empty()) text += ' ';
        starts.back().push_back(text.size());
        text += token;
      }
      texts_.push_back(std::move(text));
    }
    encodings_ = encode_texts(tokenizer_of(bundle), texts_, {}, max_length);
    note_cut_texts(encodings_, texts_, {}, max_length);
    for (size_t i = 0; i < sentences.size(); ++i) {
      std::vector<int64_t> ids;
      for (const auto& label : sentences[i].labels) ids.push_back(labels.ids.at(label));
      labels_.push_back(label_pieces(encodings_[i], starts[i], ids));
    }
  }
  int64_t size() const override { return static_cast<int64_t>(texts_.size()); }
  int64_t length(int64_t index) const override { return static_cast<int64_t>(encodings_[index].ids.size()); }
  std::vector<std::string> labels() const override { return names_; }
  std::string split() const override { return split_; }
  std::string describe(int64_t index) const override { return texts_[index]; }
  Tensors get(std::span<const int64_t> indices, bool /*training*/, uint64_t /*seed*/) const override {
    std::vector<const tokenizers::Encoding*> members;
    for (const int64_t index : indices) members.push_back(&encodings_[index]);
    Tensors batch = pad_encodings(members, pad_);
    at::Tensor labels = at::full(batch.at("tokens").sizes(), kIgnored, at::kLong);  // [B, T]
    for (size_t row = 0; row < indices.size(); ++row) {
      const auto& from = labels_[indices[row]];
      std::copy(from.begin(), from.end(), labels[static_cast<int64_t>(row)].mutable_data_ptr<int64_t>());
    }
    batch["labels"] = labels;
    return batch;
  }

 private:
  std::string split_;
  std::vector<std::string> names_, texts_;
  std::vector<tokenizers::Encoding> encodings_;
  std::vector<std::vector<int64_t>> labels_;
  int64_t pad_;
};

// Words by class and, where the labels mark entities, entities as seqeval counts them.
class TokenMetrics : public Metrics {
 public:
  explicit TokenMetrics(std::vector<std::string> labels)
      : labels_(std::move(labels)),
        with_entities_(are_entity_labels(labels_)),
        words_(static_cast<int64_t>(labels_.size())) {}

  void add(const Tensors& outputs, const Tensors& batch, std::span<const int64_t>) override {
    at::NoGradGuard no_grad;
    const at::Tensor logits = outputs.at("logits").detach().to(at::kCPU, at::kFloat);   // [B, T, C]
    const at::Tensor truths = batch.at("labels").to(at::kCPU, at::kLong).contiguous();  // [B, T]
    const at::Tensor guesses = logits.argmax(-1).contiguous();
    words_.add(truths, guesses);
    loss_sum_ += at::cross_entropy_loss(logits.flatten(0, 1).to(at::kDouble), truths.flatten(), {},
                                        at::Reduction::Sum, kIgnored)
                     .item<double>();
    sentences_ += truths.size(0);
    if (!with_entities_) return;
    const int64_t width = truths.size(1);
    for (int64_t row = 0; row < truths.size(0); ++row)
      add_entities(truths.const_data_ptr<int64_t>() + row * width,
                   guesses.const_data_ptr<int64_t>() + row * width, width);
  }

  Json result() const override {
    const auto total = entities_.total();
    Json result{{"accuracy", words_.accuracy()}};
    result["precision"] = with_entities_ ? total.precision() : words_.macro_precision();
    result["recall"] = with_entities_ ? total.recall() : words_.macro_recall();
    result["f1"] = with_entities_ ? total.f1() : words_.macro_f1();
    result["macro_f1"] = with_entities_ ? entities_.macro_f1() : words_.macro_f1();
    result["loss"] = words_.total() == 0 ? 0.0 : loss_sum_ / static_cast<double>(words_.total());
    if (with_entities_) result["entities"] = total.truths;
    result["tokens"] = words_.total();
    result["samples"] = sentences_;
    return result;
  }

  Json details() const override {
    Json details = words_.details(labels_);
    if (!with_entities_) return details;
    Json& types = details["entities"] = Json::array();
    for (const auto& [type, counts] : entities_.types())
      types.push_back({{"type", type},
                       {"precision", counts.precision()},
                       {"recall", counts.recall()},
                       {"f1", counts.f1()},
                       {"support", counts.truths}});
    return details;
  }

 private:
  void add_entities(const int64_t* truths, const int64_t* guesses, int64_t width) {
    std::vector<std::string> truth, guess;
    for (int64_t t = 0; t < width; ++t) {
      if (truths[t] < 0) continue;
      truth.push_back(labels_.at(truths[t]));
      guess.push_back(labels_.at(guesses[t]));
    }
    entities_.add(truth, guess);
  }

  std::vector<std::string> labels_;
  bool with_entities_;
  ConfusionMatrix words_;
  EntityScores entities_;
  double loss_sum_ = 0;
  int64_t sentences_ = 0;
};

// For each byte of a text, and its end: how many characters begin before it.
std::vector<int64_t> characters_before(const std::string& text) {
  std::vector<int64_t> counts{0};
  for (const unsigned char byte : text) counts.push_back(counts.back() + ((byte & 0xC0) != 0x80));
  return counts;
}

struct Piece {
  std::string label;
  double score;
  size_t token;
};

// transformers' aggregation_strategy="simple": neighbours of one type, unless a B- begins anew; scores are
// averaged.
class Grouper {
 public:
  Grouper(const TextInput& input, const tokenizers::Encoding& encoding,
          const tokenizers::Tokenizer& tokenizer)
      : input_(input),
        encoding_(encoding),
        tokenizer_(tokenizer),
        characters_(characters_before(input.text)) {}

  void add(Piece piece) {
    const GroupTag tag = group_tag(piece.label);
    if (!group_.empty() && (tag.begins || tag.type != group_tag(group_.back().label).type)) close();
    group_.push_back(std::move(piece));
  }
  Json finish() {
    close();
    return std::move(entities_);
  }

 private:
  void close() {
    if (group_.empty()) return;
    const std::vector<Piece> group = std::exchange(group_, {});
    if (group.front().label == "O") return;
    double score = 0;
    for (const Piece& piece : group) score += piece.score;
    const auto dash = group.front().label.find('-');
    const size_t begin = encoding_.offsets[group.front().token].first,
                 end = encoding_.offsets[group.back().token].second;
    entities_.push_back({{"entity_group", dash == std::string::npos ? group.front().label
                                                                    : group.front().label.substr(dash + 1)},
                         {"score", score / static_cast<double>(group.size())},
                         {"word", word(group)},
                         {"start", characters_[begin]},
                         {"end", characters_[end]}});
  }
  // The pieces joined again; what the vocabulary does not know stands there as it is in the text.
  std::string word(const std::vector<Piece>& group) const {
    std::vector<int64_t> ids;
    for (const Piece& piece : group) ids.push_back(encoding_.ids[piece.token]);
    std::string joined = tokenizer_.decode(ids, false);
    const auto unknown = tokenizer_.unk_id();
    if (!unknown) return joined;
    const std::string stand_in = tokenizer_.id_to_token(*unknown);
    size_t from = 0;
    for (const Piece& piece : group) {
      if (encoding_.ids[piece.token] != *unknown) continue;
      const auto [begin, end] = encoding_.offsets[piece.token];
      const size_t place = joined.find(stand_in, from);
      if (place == std::string::npos) break;
      joined.replace(place, stand_in.size(), input_.text, begin, end - begin);
      from = place + (end - begin);
    }
    return joined;
  }

  const TextInput& input_;
  const tokenizers::Encoding& encoding_;
  const tokenizers::Tokenizer& tokenizer_;
  std::vector<int64_t> characters_;
  std::vector<Piece> group_;
  Json entities_ = Json::array();
};

Json entities_in(const TextInput& input, const tokenizers::Encoding& encoding, const Bundle& bundle,
                 const at::Tensor& logits) {
  const auto [scores, classes] = logits.softmax(-1).max(-1);  // [T]
  Grouper grouper(input, encoding, tokenizer_of(bundle));
  for (size_t t = 0; t < encoding.ids.size(); ++t) {
    if (encoding.special[t]) continue;
    const auto at = static_cast<int64_t>(t);
    grouper.add({bundle.labels.at(classes[at].item<int64_t>()), scores[at].item<double>(), t});
  }
  return {{"source", input.source}, {"text", input.text}, {"entities", grouper.finish()}};
}

OutputRow row_of(Json prediction) {
  OutputRow row;
  row.text = prediction.at("text").get<std::string>() + "\n";
  if (prediction.at("entities").empty()) row.text += "  (none)\n";
  for (const Json& entity : prediction.at("entities")) {
    const auto type = entity.at("entity_group").get<std::string>(), word = entity.at("word").get<std::string>();
    const std::string start = entity.at("start").dump(), end = entity.at("end").dump();
    row.text += "  " + type + "  " + word + "  " + start + "-" + end + "  " + probability_text(entity.at("score").get<double>()) + "\n";
    row.table.push_back({prediction.at("source").get<std::string>(), start, end, type, word, entity.at("score").dump()});
  }
  row.json = std::move(prediction);
  return row;
}

class TokenClassification : public Task {
 public:
  std::string name() const override { return "token_classification"; }
  std::vector<std::string> option_names() const override { return {"max_length"}; }
  std::string primary_metric() const override { return "f1"; }

  std::unique_ptr<Dataset> open(const std::filesystem::path& data, const Bundle& bundle,
                                const DataOptions& options) const override {
    const auto file = split_file(data, options.split,
                                 {".conll", ".bio", ".iob", ".iob2", ".tsv", ".txt", ".jsonl", ".json"});
    const auto sentences = data::read_labelled_tokens(file.path, options.limit);
    std::map<std::string, int64_t> first_lines;
    for (const auto& sentence : sentences) {
      if (sentence.labels.size() != sentence.tokens.size())
        throw UsageError(file.path.string() + ": line " + std::to_string(sentence.line) +
                         ": no labels; \"labels\" or \"ner_tags\" was expected");
      for (const auto& label : sentence.labels) first_lines.emplace(label, sentence.line);
    }
    LabelIds labels = match_labels(first_lines, bundle.labels, options.training, file.path.string());
    return std::make_unique<Sentences>(bundle, file.split, sentences, std::move(labels),
                                       text_limit(bundle, options.options));
  }

  at::Tensor loss(const Tensors& outputs, const Tensors& batch, const Json& options) const override {
    return classification_loss(outputs.at("logits"), batch.at("labels"), options);
  }

  std::unique_ptr<Metrics> metrics(const Bundle& bundle) const override {
    return std::make_unique<TokenMetrics>(bundle.labels);
  }

  bool resumes() const override { return true; }
  Json run(Bundle& bundle, const RunOptions& options) const override {
    const int64_t limit = text_limit(bundle, options.options);
    const TextEncoder encoder(bundle, limit);
    OutputForms forms;
    forms.head = {{"task", "token_classification"}};
    forms.header = {"source", "start", "end", "entity_group", "word", "score"};
    int64_t cut = 0, read = 0;
    Json document = run_predictions(bundle, options, std::move(forms), text_run_inputs(options), kNoTexts, [&](const auto& window, const auto& done) {
      std::vector<std::string> texts;
      for (const auto& input : window) texts.push_back(input.text);
      const EncodedTexts encoded = encoder.encode(texts, {}, /*tell=*/false);
      cut += encoded.cut, read += encoded.size();
      std::vector<OutputRow> rows(window.size());
      predict_rows(bundle, encoded, "logits", options.batch_size, [&](size_t index, const at::Tensor& logits) {
        rows[index] = row_of(entities_in(window[index], encoded.texts[index], bundle, logits));
      }, done);
      return rows;
    });
    tell_cut_texts(cut, read, limit);
    return document;
  }
};

}  // namespace token_classification_detail

const Task& token_classification_task() {
  static const token_classification_detail::TokenClassification task;
  return task;
}

}  // namespace zoo::app
