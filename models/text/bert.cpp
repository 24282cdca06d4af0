// BERT: Pre-training of Deep Bidirectional Transformers (Devlin et al., 2019, arXiv:1810.04805).
// Token, position and segment embeddings through post-norm encoder layers; heads read all tokens or the first one.
// Reference: transformers 5.23.0, models/bert/modeling_bert.py: BertModel, BertForMaskedLM, BertForSequenceClassification,
// BertForTokenClassification, BertForQuestionAnswering.
// Differences: encoder only (decoders with cross-attention are in encoder_decoder.cpp); no relative positions.
#include "models/blocks/heads.h"
#include "models/init.h"
#include "models/text/bert.h"

namespace zoo::bert {

struct EncoderModel : Model {
  Config cfg;
  explicit EncoderModel(const Config& c) : cfg(c) {
    // The bare encoder's keys stand at the top, without the prefix that the heads put before them.
    for (const auto& child : bert->named_children()) register_module(child.key(), child.value());
  }
  Bert bert{cfg, true};

  Tensors forward(const Tensors& inputs) override {
    const Tensor hidden = bert->forward(inputs);
    return {{"hidden", hidden}, {"pooled", bert->pooler(hidden)}};
  }
  void init_weights() override { init_transformers(*this, cfg.initializer_range); }
};

struct MaskedLanguageModel : Model {
  Config cfg;
  explicit MaskedLanguageModel(const Config& c) : cfg(c) {}
  Bert bert = add("bert", Bert(cfg, false));
  BertLmHead head = add("cls", BertLmHead(bert->embeddings->words->weight, cfg.hidden_act, cfg.layer_norm_eps));

  Tensors forward(const Tensors& inputs) override { return {{"logits", head(bert(inputs))}}; }  // [B, T, vocab]
  void init_weights() override {
    init_transformers(*this, cfg.initializer_range);
    at::NoGradGuard no_grad;
    head->bias.zero_();
  }
};

struct SequenceClassifier : Model {
  Config cfg;
  explicit SequenceClassifier(const Config& c) : cfg(c) {}
  Bert bert = add("bert", Bert(cfg, true));
  Linear classifier = add("classifier", Linear(cfg.hidden_size, cfg.num_labels));

  Tensors forward(const Tensors& inputs) override {
    const Tensor pooled = bert->pooler(bert(inputs));  // [B, D]
    return {{"logits", classifier(at::dropout(pooled, cfg.classifier_dropout, is_training()))}, {"pooled", pooled}};
  }
  void init_weights() override { init_transformers(*this, cfg.initializer_range); }
};

struct TokenClassifier : Model {
  Config cfg;
  explicit TokenClassifier(const Config& c) : cfg(c) {}
  Bert bert = add("bert", Bert(cfg, false));
  Linear classifier = add("classifier", Linear(cfg.hidden_size, cfg.num_labels));

  Tensors forward(const Tensors& inputs) override {
    return {{"logits", classifier(at::dropout(bert(inputs), cfg.classifier_dropout, is_training()))}};  // [B, T, labels]
  }
  void init_weights() override { init_transformers(*this, cfg.initializer_range); }
};

struct QuestionAnswering : Model {
  Config cfg;
  explicit QuestionAnswering(const Config& c) : cfg(c) {}
  Bert bert = add("bert", Bert(cfg, false));
  Linear out = add("qa_outputs", Linear(cfg.hidden_size, 2));

  Tensors forward(const Tensors& inputs) override { return answer_span(out, bert(inputs)); }
  void init_weights() override { init_transformers(*this, cfg.initializer_range); }
};

std::shared_ptr<Model> build(const Json& json) {
  const auto config = read_config<Config>("bert", json);
  const auto architecture = architecture_of("bert", json, "BertModel", {"BertModel", "BertForMaskedLM", "BertForSequenceClassification",
                                            "BertForTokenClassification", "BertForQuestionAnswering"});
  if (architecture == "BertForMaskedLM") return std::make_shared<MaskedLanguageModel>(config);
  if (architecture == "BertForSequenceClassification") return std::make_shared<SequenceClassifier>(config);
  if (architecture == "BertForTokenClassification") return std::make_shared<TokenClassifier>(config);
  if (architecture == "BertForQuestionAnswering") return std::make_shared<QuestionAnswering>(config);
  return std::make_shared<EncoderModel>(config);
}

Entry entry() {
  return {"bert", build, [](const Json& json) -> std::vector<InputSpec> {
            const auto config = read_config<Config>("bert", json);
            return {{"tokens", {"B", "T"}, "int64", 0, double(config.vocab_size)},
                    {"mask", {"B", "T"}, "bool", 1, 2},
                    {"token_types", {"B", "T"}, "int64", 0, double(config.type_vocab_size)}};
          }};
}

}  // namespace zoo::bert
