// Zecoler: Zero-Shot Code Representation Learning via Prompt Tuning (Cui et al., 2022, arXiv:2204.08360), which is P-tuning (Liu et
// al., 2021, arXiv:2103.10385) of CodeBERT. Learned vectors, passed through an LSTM and two layers, stand for the words at marked
// places of a masked language model's input; the classes are the scores of words behind the mask.
// Reference: github.com/ChrisCN97/zecoler (ce2d0ad), method/ptuning/pet/wrapper.py (ContinuousPrompt, generate_default_inputs) and
// data_utils/task_pvps.py (PVP), with prompt_encoder_type "lstm" and RoBERTa.
// Differences: freeze_plm is on unless the config says otherwise; a text whose mask was cut away is judged at its first token.
#include "models/blocks/heads.h"
#include "models/blocks/lstm.h"
#include "models/init.h"
#include "models/text/roberta.h"

namespace zoo::zecoler {

struct Config : roberta::Config {
  int64_t prompt_length = 10, mask_token_id = 50264;
  std::vector<std::vector<int64_t>> verbalizer{{440}, {3216}};  // for each class the ids of its words: " No", " Yes" of RoBERTa
  bool freeze_plm = true;

  void fields(Fields& f) {
    roberta::Config::fields(f);
    f.size("prompt_length", prompt_length);
    f.count("mask_token_id", mask_token_id);
    f.flag("freeze_plm", freeze_plm);
    f.ignored({"verbalizer", "pattern"});
    f.fixed("prompt_encoder_type", "lstm");
    read_verbalizer(f);
  }

 private:
  void read_verbalizer(const Fields& f) {
    const auto given = f.json().find("verbalizer");
    if (given == f.json().end()) return;
    const std::string wanted = "config key 'verbalizer' is " + given->dump().substr(0, 80) + "; expected for each class a list of ids below vocab_size, such as [[440], [3216]]";
    f.require(given->is_array() && given->size() > 1, wanted);
    verbalizer.clear();
    for (const auto& words : *given) {
      f.require(words.is_array() && !words.empty(), wanted);
      verbalizer.emplace_back();
      for (const auto& id : words) {
        f.require(id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() < vocab_size, wanted);
        verbalizer.back().push_back(id.get<int64_t>());
      }
    }
  }
};

// RobertaForMaskedLM, whose words can be given.
struct LanguageModelImpl : Module {
  Config cfg;
  explicit LanguageModelImpl(const Config& c) : cfg(c) {}
  roberta::Roberta roberta = add("roberta", roberta::Roberta(cfg, false));
  RobertaLmHead head = add("lm_head", RobertaLmHead(roberta->embeddings->words->weight, cfg.layer_norm_eps));

  // tokens [B, T], words [B, T, D], mask [B, T] -> states [B, T, D]
  Tensor read(const Tensor& tokens, const Tensor& words, const Tensor& mask) {
    TORCH_CHECK_VALUE(tokens.size(1) <= cfg.longest(), "zecoler: ", tokens.size(1), " tokens; the network has positions for ", cfg.longest(), " (truncate the text)");
    Tensor x = roberta->embeddings(tokens, Tensor(), 0, words);
    const Tensor keep = key_mask(mask);
    for (auto& layer : roberta->layers) x = layer(x, keep);
    return x;
  }
};
ZOO_MODULE(LanguageModel);

struct ContinuousPrompt : Model {
  Config cfg;
  explicit ContinuousPrompt(const Config& c) : cfg(c) {
    if (!cfg.freeze_plm) return;
    for (auto& parameter : model->parameters()) parameter.set_requires_grad(false);
  }
  LanguageModel model = add("model", LanguageModel(cfg));
  Embedding prompts = add("prompt_embeddings", Embedding(cfg.prompt_length, cfg.hidden_size));
  BiLstm lstm = add("lstm_head", BiLstm(cfg.hidden_size, cfg.hidden_size, /*layers=*/2));
  Linear mlp1 = add("mlp_head.0", Linear(2 * cfg.hidden_size, cfg.hidden_size));
  Linear mlp2 = add("mlp_head.2", Linear(cfg.hidden_size, cfg.hidden_size));

  Tensors forward(const Tensors& inputs) override {
    const Tensor& tokens = inputs.at("tokens");
    const Tensor states = model->read(tokens, prompted(tokens, inputs.at("prompt_places")), optional_input(inputs, "mask"));
    const Tensor place = tokens.eq(cfg.mask_token_id).to(at::kLong).argmax(1).view({-1, 1, 1});  // the first mask
    const Tensor hidden = states.gather(1, place.expand({-1, 1, states.size(2)}));               // [B, 1, D]
    return {{"logits", classes(model->head(hidden).squeeze(1))}};
  }

  // The rows of the table of words, the i-th marked place of each text taken by the i-th prompt: [B, T, D].
  Tensor prompted(const Tensor& tokens, const Tensor& places) {
    const Tensor words = at::embedding(model->roberta->embeddings->words->weight, tokens, cfg.special.pad);
    const Tensor made = mark("mlp_head", mlp2(at::relu(mlp1(lstm(prompts->weight.unsqueeze(0)))))).squeeze(0);  // [P, D]
    const Tensor number = places.to(at::kLong).cumsum(1) - 1;
    const Tensor taken = places.logical_and(number < cfg.prompt_length);
    const Tensor chosen = at::embedding(made, number.clamp(0, cfg.prompt_length - 1));
    return at::where(taken.unsqueeze(-1), chosen.to(words.scalar_type()), words);
  }

  // [B, vocab] -> [B, C]: the mean score of each class's words.
  Tensor classes(const Tensor& scores) const {
    std::vector<Tensor> columns;
    for (const auto& words : cfg.verbalizer) {
      const Tensor ids = at::tensor(words, at::kLong).to(scores.device());
      columns.push_back(scores.index_select(1, ids).mean(1));
    }
    return at::stack(columns, 1);
  }

  void init_weights() override {
    init_transformers(*model, cfg.initializer_range);
    {
      at::NoGradGuard no_grad;
      model->roberta->embeddings->words->weight[cfg.special.pad].zero_();
      model->roberta->embeddings->positions->weight[cfg.special.pad].zero_();
      model->head->bias.zero_();
    }
    prompts->init();
    lstm->init();
    mlp1->init();
    mlp2->init();
  }
};

Entry entry() {
  const auto build = [](const Json& json) -> std::shared_ptr<Model> {
    architecture_of("zecoler", json, "ContinuousPrompt", {"ContinuousPrompt"});
    return std::make_shared<ContinuousPrompt>(read_config<Config>("zecoler", json));
  };
  return {"zecoler", build, [](const Json& json) -> std::vector<InputSpec> {
            const double vocabulary = double(read_config<Config>("zecoler", json).vocab_size);
            return {{"tokens", {"B", "T"}, "int64", 0, vocabulary}, {"mask", {"B", "T"}, "bool", 1, 2}, {"prompt_places", {"B", "T"}, "bool", 0, 2}};
          }};
}

}  // namespace zoo::zecoler
