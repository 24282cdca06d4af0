// RoBERTa: A Robustly Optimized BERT Pretraining Approach (Liu et al., 2019, arXiv:1907.11692); CodeBERT (Feng et al., 2020,
// arXiv:2002.08155) is this network trained on code.
// BERT's layers; positions count the tokens that are no padding and begin after the padding's id; sequences are classified from
// the first token by two layers.
// Reference: transformers 5.23.0, models/roberta/modeling_roberta.py: RobertaModel, RobertaForMaskedLM,
// RobertaForSequenceClassification, RobertaForTokenClassification, RobertaForQuestionAnswering; the same classes of XLM-RoBERTa
// (Conneau et al., 2020, arXiv:1911.02116) and CamemBERT (Martin et al., 2020, arXiv:1911.03894), which are this network.
// Differences: encoder only (decoders with cross-attention are in encoder_decoder.cpp).
#include "models/blocks/heads.h"
#include "models/init.h"
#include "models/text/roberta.h"

namespace zoo::roberta {

// What all begin with; rows of padding are zero.
void start_weights(Model& model, Roberta& roberta) {
  const Config& cfg = roberta->cfg;
  init_transformers(model, cfg.initializer_range);
  at::NoGradGuard no_grad;
  roberta->embeddings->words->weight[cfg.special.pad].zero_();
  roberta->embeddings->positions->weight[cfg.special.pad].zero_();
}

struct EncoderModel : Model {
  Config cfg;
  explicit EncoderModel(const Config& c) : cfg(c) {
    // The bare encoder's keys stand at the top, without the prefix that the heads put before them.
    for (const auto& child : roberta->named_children()) register_module(child.key(), child.value());
  }
  Roberta roberta{cfg, true};

  Tensors forward(const Tensors& inputs) override {
    const Tensor hidden = roberta->forward(inputs);
    return {{"hidden", hidden}, {"pooled", roberta->pooler(hidden)}};
  }
  void init_weights() override { start_weights(*this, roberta); }
};

struct MaskedLanguageModel : Model {
  Config cfg;
  explicit MaskedLanguageModel(const Config& c) : cfg(c) {}
  Roberta roberta = add("roberta", Roberta(cfg, false));
  RobertaLmHead head = add("lm_head", RobertaLmHead(roberta->embeddings->words->weight, cfg.layer_norm_eps));

  Tensors forward(const Tensors& inputs) override { return {{"logits", head(roberta(inputs))}}; }  // [B, T, vocab]
  void init_weights() override {
    start_weights(*this, roberta);
    at::NoGradGuard no_grad;
    head->bias.zero_();
  }
};

struct SequenceClassifier : Model {
  Config cfg;
  explicit SequenceClassifier(const Config& c) : cfg(c) {}
  Roberta roberta = add("roberta", Roberta(cfg, false));
  ClassificationHead head = add("classifier", ClassificationHead(cfg.hidden_size, cfg.hidden_size, cfg.num_labels, cfg.classifier_dropout));

  Tensors forward(const Tensors& inputs) override { return {{"logits", head(roberta(inputs).select(1, 0))}}; }  // of the first token
  void init_weights() override { start_weights(*this, roberta); }
};

struct TokenClassifier : Model {
  Config cfg;
  explicit TokenClassifier(const Config& c) : cfg(c) {}
  Roberta roberta = add("roberta", Roberta(cfg, false));
  Linear classifier = add("classifier", Linear(cfg.hidden_size, cfg.num_labels));

  Tensors forward(const Tensors& inputs) override {
    return {{"logits", classifier(at::dropout(roberta(inputs), cfg.classifier_dropout, is_training()))}};  // [B, T, labels]
  }
  void init_weights() override { start_weights(*this, roberta); }
};

struct QuestionAnswering : Model {
  Config cfg;
  explicit QuestionAnswering(const Config& c) : cfg(c) {}
  Roberta roberta = add("roberta", Roberta(cfg, false));
  Linear out = add("qa_outputs", Linear(cfg.hidden_size, 2));

  Tensors forward(const Tensors& inputs) override { return answer_span(out, roberta(inputs)); }
  void init_weights() override { start_weights(*this, roberta); }
};

// XLM-RoBERTa and CamemBERT are this network, and their files have its keys: XLMRobertaForMaskedLM is RobertaForMaskedLM.
std::string own_name(const std::string& name) {
  for (const std::string other : {"XLMRoberta", "Camembert"}) {
    if (name.rfind(other, 0) == 0) return "Roberta" + name.substr(other.size());
  }
  return name;
}

std::shared_ptr<Model> build(const Json& json) {
  const auto config = read_config<Config>("roberta", json);
  std::vector<std::string> known;
  for (const std::string family : {"Roberta", "XLMRoberta", "Camembert"}) {
    for (const char* head : {"Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"}) known.push_back(family + head);
  }
  const auto architecture = own_name(architecture_of("roberta", json, "RobertaModel", known));
  if (architecture == "RobertaForMaskedLM") return std::make_shared<MaskedLanguageModel>(config);
  if (architecture == "RobertaForSequenceClassification") return std::make_shared<SequenceClassifier>(config);
  if (architecture == "RobertaForTokenClassification") return std::make_shared<TokenClassifier>(config);
  if (architecture == "RobertaForQuestionAnswering") return std::make_shared<QuestionAnswering>(config);
  return std::make_shared<EncoderModel>(config);
}

Entry entry() {
  return {"roberta", build, [](const Json& json) -> std::vector<InputSpec> {
            const auto config = read_config<Config>("roberta", json);
            return {{"tokens", {"B", "T"}, "int64", 0, double(config.vocab_size)},
                    {"mask", {"B", "T"}, "bool", 1, 2},
                    {"token_types", {"B", "T"}, "int64", 0, double(config.type_vocab_size)}};
          }};
}

}  // namespace zoo::roberta
