// Masked language modelling: the words behind [MASK], and training on plain text with hidden words (Devlin et
// al., 2019, section 3.1, task 1).
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "app/cli.h"
#include "app/tasks/labelled_text.h"
#include "app/tasks/option_values.h"
#include "app/tasks/text_batches.h"
#include "app/tasks/text_predictions.h"
#include "app/tasks/token_noise.h"

namespace zoo::app {
namespace fill_mask_detail {

constexpr int64_t kIgnored = -100;
constexpr double kMaskedShare = 0.15;  // of all tokens that are not special
constexpr double kReplacedByMask =
    0.8;  // of these; half of the rest become random tokens, the other half stay
constexpr double kReplaced = 0.9;

int64_t mask_id_of(const Bundle& bundle) {
  const auto id = tokenizer_of(bundle).mask_id();
  if (!id)
    throw UsageError(bundle.spec +
                     ": its tokenizer has no mask token; fill_mask needs a masked language model");
  return *id;
}

struct Masking {
  int64_t mask, vocabulary;
  bool whole_words = false;
};

// The places of the tokens of each word; every token is one of its own without whole_words. Special tokens are left out.
std::vector<std::vector<size_t>> units_of(const tokenizers::Encoding& encoding, bool whole_words) {
  std::vector<std::vector<size_t>> units;
  int64_t word = -1;
  for (size_t t = 0; t < encoding.ids.size(); ++t) {
    if (encoding.special[t]) continue;
    if (units.empty() || !whole_words || encoding.word_ids[t] != word) units.emplace_back();
    units.back().push_back(t);
    word = encoding.word_ids[t];
  }
  return units;
}

// Hides tokens in place and returns what stood there, kIgnored elsewhere. At least one token (or word) of every text is chosen, so
// that no text is without a loss. Words are always hidden behind mask tokens (CodeRosetta's collator).
std::vector<int64_t> hide_tokens(tokenizers::Encoding& encoding, const Masking& masking, Dice dice) {
  std::vector<int64_t> labels(encoding.ids.size(), kIgnored);
  const auto units = units_of(encoding, masking.whole_words);
  if (units.empty()) return labels;
  const size_t forced = static_cast<size_t>(dice.below(static_cast<int64_t>(units.size())));
  std::vector<size_t> chosen;
  for (size_t unit = 0; unit < units.size(); ++unit)
    if (dice.uniform() < kMaskedShare) chosen.push_back(unit);
  if (chosen.empty()) chosen.push_back(forced);
  for (const size_t unit : chosen) {
    const double kind = masking.whole_words ? 0.0 : dice.uniform();
    for (const size_t t : units[unit]) {
      labels[t] = encoding.ids[t];
      if (kind < kReplacedByMask)
        encoding.ids[t] = masking.mask;
      else if (kind < kReplaced)
        encoding.ids[t] = dice.below(masking.vocabulary);
    }
  }
  return labels;
}

class Lines : public Dataset {
 public:
  Lines(const Bundle& bundle, std::string split, TextRows texts, int64_t max_length, bool whole_words)
      : split_(std::move(split)),
        pad_(pad_id_of(bundle)),
        masking_{mask_id_of(bundle), tokenizer_of(bundle).vocab_size(), whole_words},
        texts_(std::move(texts), [&tokenizer = tokenizer_of(bundle), max_length](const auto& lines, const auto&, bool all) {
          EncodedTexts encoded{encode_texts(tokenizer, lines, {}, max_length), {}, {}};
          if (all) note_cut_texts(encoded.texts, lines, {}, max_length);
          return encoded;
        }) {
    masking_.vocabulary =
        std::min(masking_.vocabulary, bundle.config.value("vocab_size", masking_.vocabulary));
  }
  int64_t size() const override { return texts_.size(); }
  int64_t length(int64_t index) const override { return texts_.length(index); }
  std::string split() const override { return split_; }
  std::string describe(int64_t index) const override { return texts_.rows().row(index).front(); }
  Tensors get(std::span<const int64_t> indices, bool /*training*/, uint64_t seed) const override {
    std::vector<tokenizers::Encoding> hidden = texts_.of(indices).texts;
    std::vector<std::vector<int64_t>> labels;
    for (size_t row = 0; row < indices.size(); ++row) labels.push_back(hide_tokens(hidden[row], masking_, Dice(seed, indices[row])));
    Tensors batch = pad_encodings(hidden, pad_);
    at::Tensor wanted = at::full(batch.at("tokens").sizes(), kIgnored, at::kLong);  // [B, T]
    for (size_t row = 0; row < labels.size(); ++row)
      std::copy(labels[row].begin(), labels[row].end(),
                wanted[static_cast<int64_t>(row)].mutable_data_ptr<int64_t>());
    batch["labels"] = wanted;
    return batch;
  }

 private:
  std::string split_;
  int64_t pad_;
  Masking masking_;
  RowEncodings texts_;
};

struct Hidden {
  at::Tensor logits, labels;  // [N, V], [N]: the hidden positions alone, a seventh of all
};

Hidden hidden_positions(const Tensors& outputs, const Tensors& batch) {
  const at::Tensor logits = outputs.at("logits").flatten(0, 1);
  const at::Tensor labels = batch.at("labels").to(logits.device()).flatten();
  const at::Tensor places = labels.ge(0).nonzero().squeeze(-1);
  return {logits.index_select(0, places).to(at::kFloat), labels.index_select(0, places)};
}

class FillMaskMetrics : public Metrics {
 public:
  void add(const Tensors& outputs, const Tensors& batch, std::span<const int64_t>) override {
    at::NoGradGuard no_grad;
    const Hidden hidden = hidden_positions(outputs, batch);
    loss_sum_ += at::cross_entropy_loss(hidden.logits, hidden.labels, {}, at::Reduction::None)
                     .sum(at::kDouble)
                     .item<double>();
    right_ += hidden.logits.argmax(-1).eq(hidden.labels).sum().item<int64_t>();
    tokens_ += hidden.labels.size(0);
    texts_ += batch.at("labels").size(0);
  }
  Json result() const override {
    const double count = static_cast<double>(std::max<int64_t>(tokens_, 1));
    return {{"masked_accuracy", static_cast<double>(right_) / count},
            {"perplexity", std::exp(loss_sum_ / count)},
            {"loss", loss_sum_ / count},
            {"masked_tokens", tokens_},
            {"samples", texts_}};
  }

 private:
  double loss_sum_ = 0;
  int64_t right_ = 0, tokens_ = 0, texts_ = 0;
};

// As transformers' fill-mask pipeline: for each [MASK] the likeliest tokens, and the text with each put in.
// With several masks the others stay visible in the text.
Json masks_in(const tokenizers::Encoding& encoding, const at::Tensor& logits, const Bundle& bundle,
              int64_t top) {
  const auto& tokenizer = tokenizer_of(bundle);
  const int64_t mask = mask_id_of(bundle);
  const bool single = std::count(encoding.ids.begin(), encoding.ids.end(), mask) == 1;
  Json masks = Json::array();
  for (size_t t = 0; t < encoding.ids.size(); ++t) {
    if (encoding.ids[t] != mask) continue;
    const auto [scores, tokens] =
        logits[static_cast<int64_t>(t)].softmax(-1).topk(std::min(top, logits.size(-1)));
    Json candidates = Json::array();
    for (int64_t k = 0; k < tokens.size(0); ++k) {
      std::vector<int64_t> filled = encoding.ids;
      filled[t] = tokens[k].item<int64_t>();
      candidates.push_back({{"score", scores[k].item<double>()},
                            {"token", filled[t]},
                            {"token_str", tokenizer.decode({filled[t]}, false)},
                            {"sequence", tokenizer.decode(filled, single)}});
    }
    masks.push_back(std::move(candidates));
  }
  return masks;
}

PredictionForms forms_of(Json predictions) {
  PredictionForms forms;
  forms.table.push_back({"source", "mask", "token_str", "score", "sequence"});
  for (const Json& one : predictions) {
    forms.text += one.at("text").get<std::string>() + "\n";
    for (size_t mask = 0; mask < one.at("masks").size(); ++mask)
      for (const Json& candidate : one.at("masks")[mask]) {
        const auto word = candidate.at("token_str").get<std::string>(),
                   sequence = candidate.at("sequence").get<std::string>();
        forms.text += "  " + probability_text(candidate.at("score").get<double>()) + "  " + word + "  " +
                      sequence + "\n";
        forms.table.push_back({one.at("source").get<std::string>(), std::to_string(mask + 1), word,
                               candidate.at("score").dump(), sequence});
      }
  }
  forms.document = {{"task", "fill_mask"}, {"predictions", std::move(predictions)}};
  return forms;
}

class FillMask : public Task {
 public:
  std::string name() const override { return "fill_mask"; }
  std::vector<std::string> option_names() const override { return {"max_length", "whole_words", "stream_above_mb"}; }
  std::string primary_metric() const override { return "masked_accuracy"; }

  std::unique_ptr<Dataset> open(const std::filesystem::path& data, const Bundle& bundle,
                                const DataOptions& options) const override {
    const auto file = split_file(data, options.split, {".txt"});
    return std::make_unique<Lines>(bundle, file.split, text_line_rows(file.path, options.options, options.limit),
                                   text_limit(bundle, options.options), options.options.value("whole_words", false));
  }

  std::vector<std::string> training_texts(const std::filesystem::path& data, const DataOptions& options) const override {
    return read_text_lines(split_file(data, options.split, {".txt"}).path, options.limit);
  }
  at::Tensor loss(const Tensors& outputs, const Tensors& batch, const Json& /*options*/) const override {
    const Hidden hidden = hidden_positions(outputs, batch);
    return at::cross_entropy_loss(hidden.logits, hidden.labels);
  }

  std::unique_ptr<Metrics> metrics(const Bundle&) const override {
    return std::make_unique<FillMaskMetrics>();
  }

  Json run(Bundle& bundle, const RunOptions& options) const override {
    check_prediction_options(options);
    const int64_t top = count_option(options.options, "top_k", 5), mask = mask_id_of(bundle);
    const auto inputs = read_text_inputs(options);
    const auto encodings = encode_inputs(bundle, inputs, {}, options.options);
    for (size_t i = 0; i < inputs.size(); ++i)
      if (std::count(encodings[i].ids.begin(), encodings[i].ids.end(), mask) == 0)
        throw UsageError(inputs[i].source + ": no " + tokenizer_of(bundle).id_to_token(mask) + " in '" +
                         inputs[i].text.substr(0, 80) + "'; put it where a word is to be filled in");
    std::vector<Json> predictions(inputs.size());
    predict_rows(bundle, encodings, "logits", options.batch_size,
                 [&](size_t index, const at::Tensor& logits) {
                   predictions[index] = {{"source", inputs[index].source},
                                         {"text", inputs[index].text},
                                         {"masks", masks_in(encodings[index], logits, bundle, top)}};
                 });
    return deliver_predictions(forms_of(Json(std::move(predictions))), options);
  }
};

}  // namespace fill_mask_detail

const Task& fill_mask_task() {
  static const fill_mask_detail::FillMask task;
  return task;
}

}  // namespace zoo::app
