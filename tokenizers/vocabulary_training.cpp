#include "tokenizers/vocabulary_training.h"

#include <algorithm>
#include <stdexcept>

#ifdef ZOO_SENTENCEPIECE
#include <sentencepiece_trainer.h>
#endif

#include "tokenizers/json_fields.h"
#include "tokenizers/sentencepiece_model.h"

namespace zoo::tokenizers {
namespace vocabulary_training_detail {

using Files = std::map<std::string, std::string>;
using OrderedJson = nlohmann::ordered_json;

constexpr int64_t kMostTokens = int64_t{1} << 24;
constexpr int64_t kAlphabet = 256;
constexpr int64_t kMovedPieces = 2;  // XLM-RoBERTa's ids: <pad> in front and <mask> behind what SentencePiece counts

bool among(const std::vector<std::string>& names, const std::string& name) { return std::find(names.begin(), names.end(), name) != names.end(); }

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::vector<std::string> first_tokens(VocabularyStyle style) {
  if (style == VocabularyStyle::gpt2) return {"<|endoftext|>"};
  if (style == VocabularyStyle::t5) return {"<pad>", "<s>", "</s>", "<unk>", "<mask>"};
  return {"<s>", "<pad>", "</s>", "<unk>", "<mask>"};
}

void check(std::span<const std::string> texts, const VocabularyPlan& plan, VocabularyStyle style) {
  if (!among(vocabulary_kinds(), plan.kind)) throw std::invalid_argument("'" + plan.kind.substr(0, 80) + "' is no kind of vocabulary; expected one of " + listed(vocabulary_kinds()));
  if (!among(vocabulary_normalizations(), plan.normalization))
    throw std::invalid_argument("normalization is '" + plan.normalization.substr(0, 80) + "'; expected one of " + listed(vocabulary_normalizations()));
  if (!(plan.character_coverage > 0.9 && plan.character_coverage <= 1.0))
    throw std::invalid_argument("character_coverage is " + std::to_string(plan.character_coverage) + "; expected more than 0.9, at most 1");
  if (plan.min_frequency < 1) throw std::invalid_argument("min_frequency is " + std::to_string(plan.min_frequency) + "; expected 1 or more");
  const bool unigram = plan.kind == "unigram";
  if (unigram && style == VocabularyStyle::gpt2)
    throw std::invalid_argument("this network goes on with a text as it stands, line breaks and all, which unigram vocabularies do not keep; expected kind bpe");
  const auto special = static_cast<int64_t>(unigram ? (style == VocabularyStyle::t5 ? 3 : 5) : first_tokens(style).size());
  const int64_t least = special + (unigram ? 1 : kAlphabet);
  if (plan.vocab_size < least || plan.vocab_size > kMostTokens)
    throw std::invalid_argument("vocab_size is " + std::to_string(plan.vocab_size) + "; expected " + std::to_string(least) + " (" + std::to_string(special) +
                                " special tokens and " + (unigram ? "a piece" : "the 256 bytes") + ") to " + std::to_string(kMostTokens));
  if (std::all_of(texts.begin(), texts.end(), [](const std::string& text) { return text.empty(); })) throw std::invalid_argument("there are no texts to make it from");
}

[[noreturn]] void too_few(const VocabularyPlan& plan, size_t texts, int64_t tokens) {
  throw std::invalid_argument("the " + std::to_string(texts) + " texts give " + std::to_string(tokens) + " tokens only; vocab_size is " +
                              std::to_string(plan.vocab_size) + " (expected " + std::to_string(tokens) + " or fewer, or more texts)");
}

// ---- unigram ----

#ifdef ZOO_SENTENCEPIECE
/// Texts for the trainer, which takes each up to its end: line breaks become blanks, as when a tokenizer reads them.
class Sentences : public sentencepiece::SentenceIterator {
 public:
  explicit Sentences(std::span<const std::string> texts) : texts_(texts) { read(); }
  bool done() const override { return at_ >= texts_.size(); }
  void Next() override { ++at_, read(); }
  const std::string& value() const override { return text_; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  void read() {
    if (done()) return;
    text_ = texts_[at_];
    for (char& c : text_)
      if (c == '\n' || c == '\r' || c == '\0') c = ' ';
  }
  std::span<const std::string> texts_;
  size_t at_ = 0;
  std::string text_;
};

/// What is behind the place in the source and the condition, "Vocabulary size is smaller than ...", without the program's options.
std::string reason(const std::string& message) {
  const auto condition = message.rfind("] ");
  const std::string text = condition == std::string::npos ? message : message.substr(condition + 2);
  return text.substr(0, text.find(" with --"));
}

std::string train_unigram(std::span<const std::string> texts, const VocabularyPlan& plan, bool t5, int64_t pieces) {
  // The number of threads decides the order of sums, so it is the same everywhere. A limit that is not hard gives fewer pieces instead
  // of an error of the library's.
  std::unordered_map<std::string, std::string> how{
      {"model_type", "unigram"}, {"vocab_size", std::to_string(pieces)}, {"character_coverage", std::to_string(plan.character_coverage)},
      {"normalization_rule_name", plan.normalization}, {"hard_vocab_limit", "false"}, {"num_threads", "4"},
      {"max_sentence_length", "65536"}, {"minloglevel", "3"}};
  if (t5) how.insert({{"pad_id", "0"}, {"eos_id", "1"}, {"unk_id", "2"}, {"bos_id", "-1"}});
  Sentences sentences(texts);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(how, &sentences, &model);
  if (!status.ok()) throw std::invalid_argument("vocab_size " + std::to_string(plan.vocab_size) + " cannot be made of the texts: " + reason(status.message()));
  return model;
}
#else
std::string train_unigram(std::span<const std::string>, const VocabularyPlan&, bool, int64_t) {
  throw std::runtime_error("this zoo was built without SentencePiece, whose trainer makes unigram vocabularies (package libsentencepiece-dev; "
                           "or take kind bpe)");
}
#endif

Files unigram_files(std::span<const std::string> texts, const VocabularyPlan& plan, VocabularyStyle style) {
  const bool t5 = style == VocabularyStyle::t5;
  const int64_t moved = t5 ? 0 : kMovedPieces;
  std::string model = train_unigram(texts, plan, t5, plan.vocab_size - moved);
  const auto tokens = static_cast<int64_t>(parse_sentencepiece(model).pieces.size()) + moved;
  if (tokens < plan.vocab_size) too_few(plan, texts.size(), tokens);
  OrderedJson config = t5 ? OrderedJson{{"tokenizer_class", "T5Tokenizer"}, {"eos_token", "</s>"}, {"pad_token", "<pad>"}, {"unk_token", "<unk>"}, {"extra_ids", 0}}
                          : OrderedJson{{"tokenizer_class", "XLMRobertaTokenizer"}, {"bos_token", "<s>"}, {"eos_token", "</s>"}, {"cls_token", "<s>"},
                                        {"sep_token", "</s>"}, {"pad_token", "<pad>"}, {"unk_token", "<unk>"}, {"mask_token", "<mask>"}};
  return {{t5 ? "spiece.model" : "sentencepiece.bpe.model", std::move(model)}, {"tokenizer_config.json", config.dump(2) + "\n"}};
}

// ---- byte-level BPE ----

std::string merges_text(const TrainedBpe& trained) {
  std::string text = "#version: 0.2\n";
  for (const auto& [left, right] : trained.merges) text += left + " " + right + "\n";
  return text;
}

/// Written by hand: an ordered object of nlohmann/json searches all its keys at each insertion.
std::string vocab_text(const TrainedBpe& trained) {
  std::string text = "{";
  for (size_t id = 0; id < trained.tokens.size(); ++id) text += (id > 0 ? ",\n" : "\n") + OrderedJson(trained.tokens[id]).dump() + ": " + std::to_string(id);
  return text + "\n}\n";
}

Files bpe_files(std::span<const std::string> texts, const VocabularyPlan& plan, VocabularyStyle style) {
  const TrainedBpe trained = train_bpe(texts, first_tokens(style), plan.vocab_size, plan.min_frequency);
  const auto tokens = static_cast<int64_t>(trained.tokens.size());
  if (tokens < plan.vocab_size) too_few(plan, texts.size(), tokens);
  OrderedJson config = {{"tokenizer_class", "GPT2Tokenizer"}, {"bos_token", "<|endoftext|>"}, {"eos_token", "<|endoftext|>"}, {"unk_token", "<|endoftext|>"}};
  if (style != VocabularyStyle::gpt2) {
    // The blank before a hidden word belongs to the word.
    const OrderedJson mask = {{"__type", "AddedToken"}, {"content", "<mask>"}, {"lstrip", true}, {"normalized", false}, {"rstrip", false}, {"single_word", false}, {"special", true}};
    config = {{"tokenizer_class", "RobertaTokenizer"}, {"bos_token", "<s>"}, {"eos_token", "</s>"}, {"cls_token", "<s>"}, {"sep_token", "</s>"},
              {"pad_token", "<pad>"}, {"unk_token", "<unk>"}, {"mask_token", mask}};
  }
  return {{"vocab.json", vocab_text(trained)}, {"merges.txt", merges_text(trained)}, {"tokenizer_config.json", config.dump(2) + "\n"}};
}

}  // namespace vocabulary_training_detail

const std::vector<std::string>& vocabulary_kinds() {
  static const std::vector<std::string> names = {"unigram", "bpe"};
  return names;
}

const std::vector<std::string>& vocabulary_normalizations() {
  static const std::vector<std::string> names = {"nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity"};
  return names;
}

std::map<std::string, std::string> train_vocabulary(std::span<const std::string> texts, const VocabularyPlan& plan, VocabularyStyle style) {
  namespace d = vocabulary_training_detail;
  d::check(texts, plan, style);
  return plan.kind == "unigram" ? d::unigram_files(texts, plan, style) : d::bpe_files(texts, plan, style);
}

}  // namespace zoo::tokenizers
