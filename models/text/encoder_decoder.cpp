// Encoder-decoders assembled from two encoders: Leveraging Pre-trained Checkpoints for Sequence Generation Tasks (Rothe et al.,
// 2020, arXiv:1907.12461). BERT or RoBERTa reads; either of them, causal and with cross-attention to what was read, writes.
// CodeRosetta (TehraniJamsaz et al., 2024, arXiv:2410.20527) is such a network.
// Reference: transformers 5.23.0, models/encoder_decoder/modeling_encoder_decoder.py: EncoderDecoderModel of BertModel or
// RobertaModel and BertLMHeadModel or RobertaForCausalLM.
// Differences: the pooler of the encoder, which nothing reads, is there for its keys and is not trained. Padding in the decoder's
// input is attended to; the reference hides it when it makes that input from labels, which changes nothing that has a label,
// unless the start token is the padding itself.
#include "models/blocks/attention.h"
#include "models/blocks/bert_decoder_layer.h"
#include "models/blocks/heads.h"
#include "models/blocks/seq2seq.h"
#include "models/decoding.h"
#include "models/init.h"
#include "models/text/bert.h"
#include "models/text/roberta.h"

namespace zoo::encoder_decoder {

// What differs between the families: names, embeddings and the head.
struct BertFamily {
  using Config = bert::Config;
  using Encoder = bert::Bert;
  using Embeddings = bert::Embeddings;
  using Head = BertLmHead;
  static constexpr const char *network = "bert", *head = "cls";
  static Head make_head(const Config& c, const Tensor& words) { return Head(words, c.hidden_act, c.layer_norm_eps); }
  static int64_t padding(const Config&) { return -1; }  // no row of a table stands for it
};
struct RobertaFamily {
  using Config = roberta::Config;
  using Encoder = roberta::Roberta;
  using Embeddings = roberta::Embeddings;
  using Head = RobertaLmHead;
  static constexpr const char *network = "roberta", *head = "lm_head";
  static Head make_head(const Config& c, const Tensor& words) { return Head(words, c.layer_norm_eps); }
  static int64_t padding(const Config& c) { return c.special.pad; }
};

template <class Family>
struct DecoderConfig : Family::Config {
  void fields(Fields& f) {
    this->sizes(f);
    f.fixed("is_decoder", true);
    f.fixed("add_cross_attention", true);
    f.fixed("cross_attention_hidden_size", nullptr);
  }
};

template <class Embeddings>
void zero_padding(Embeddings& embeddings, int64_t pad) {
  at::NoGradGuard no_grad;
  if (pad < 0) return;
  embeddings->words->weight[pad].zero_();
  embeddings->positions->weight[pad].zero_();
}

// Whatever writes: memory [B, S, D'] is what was read, of the decoder's width.
struct Writer : Module {
  virtual Tensor forward(const Tensor& tokens, const Tensor& memory, const Tensor& memory_mask) = 0;  // [B, T] -> [B, T, vocab]
  virtual Decoding start(const Tensor& memory, const Tensor& memory_mask, int64_t rows, int64_t capacity) = 0;
  virtual Tensor step(const Tensor& tokens, Decoding& state) = 0;  // [N, T] -> [N, vocab] of the next one
  virtual void starting_values() = 0;
};

template <class Family>
struct Decoder : Writer {
  DecoderConfig<Family> cfg;
  std::string network = Family::network;
  explicit Decoder(const DecoderConfig<Family>& c) : cfg(c) {}
  typename Family::Embeddings embeddings = add(network + ".embeddings", typename Family::Embeddings(cfg));
  std::vector<BertDecoderLayer> layers =
      add_n(network + ".encoder.layer", cfg.num_hidden_layers, [&](int64_t) { return BertDecoderLayer(BertLayerOptions::of(cfg)); });
  typename Family::Head head = add(Family::head, Family::make_head(cfg, embeddings->words->weight));

  Tensor forward(const Tensor& tokens, const Tensor& memory, const Tensor& memory_mask) override {
    check_length(tokens.size(1));
    const Tensor causal = at::ones({tokens.size(1), tokens.size(1)}, memory.options().dtype(at::kBool)).tril();
    Tensor x = embeddings(tokens, Tensor());
    for (auto& layer : layers) x = layer(x, causal, memory, memory_mask);
    return head(mark(network + ".encoder", x));
  }

  Decoding start(const Tensor& memory, const Tensor& memory_mask, int64_t rows, int64_t capacity) override {
    Decoding state;
    state.allocate(cfg.num_hidden_layers, rows, cfg.num_attention_heads, capacity, cfg.hidden_size / cfg.num_attention_heads, memory.options());
    state.source_mask = memory_mask;
    for (size_t i = 0; i < layers.size(); ++i) {
      auto& source = layers[i]->source;
      state.layers[i].source_key = layers[i]->heads(source->key(memory)).contiguous();
      state.layers[i].source_value = layers[i]->heads(source->value(memory)).contiguous();
    }
    return state;
  }
  Tensor step(const Tensor& tokens, Decoding& state) override {
    state.grow(tokens.size(0), tokens.size(1));
    check_length(state.length);
    Tensor x = embeddings(tokens, Tensor(), state.length - tokens.size(1));
    for (size_t i = 0; i < layers.size(); ++i) x = layers[i]->step(x, state, i);
    return head(x.select(1, -1));
  }

  void starting_values() override {
    init_transformers(*this, cfg.initializer_range);
    zero_padding(embeddings, Family::padding(cfg));
    at::NoGradGuard no_grad;
    head->bias.zero_();
  }

 private:
  void check_length(int64_t length) const {
    TORCH_CHECK_VALUE(length <= cfg.longest(), "encoder_decoder: ", length, " tokens to write; the decoder has positions for ", cfg.longest());
  }
};

const Json& part(const Json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_object())
    throw std::invalid_argument(std::string("encoder_decoder: config key '") + name + "' is missing or no object; the config of a network is expected");
  return *found;
}

// The family of a part by its "model_type".
bool is_roberta(const Json& json, const char* name) {
  const Json& config = part(json, name);
  const auto type = config.find("model_type");
  const std::string known = type != config.end() && type->is_string() ? type->get<std::string>() : "";
  if (known == "bert") return false;
  if (known == "roberta" || known == "xlm-roberta" || known == "camembert") return true;
  throw std::invalid_argument(std::string("encoder_decoder: the ") + name + "'s model_type is '" + known.substr(0, 80) +
                              "'; expected bert, roberta, xlm-roberta or camembert");
}

template <class Config>
Config part_config(const Json& json, const char* name) { return read_config<Config>(std::string("encoder_decoder: ") + name, part(json, name)); }

// What the config says beside its two parts.
struct Config {
  SpecialTokens special{};
  void fields(Fields& f) {
    special.read(f);
    f.fixed("tie_encoder_decoder", false);
    f.ignored({"encoder", "decoder", "vocab_size"});
  }
};

struct EncoderDecoder : Model, IncrementalDecoder {
  Config cfg;
  std::function<Tensor(const Tensors&)> read;   // -> [B, S, D]
  std::function<void()> start_encoder;          // starting values
  std::shared_ptr<Writer> writer;
  Linear widen{nullptr};                        // where the two have different widths
  int64_t most = 0;                             // tokens that the decoder has positions for

  explicit EncoderDecoder(const Json& json) : cfg(read_config<Config>("encoder_decoder", json)) {
    const int64_t width = is_roberta(json, "encoder") ? make_encoder<RobertaFamily>(json) : make_encoder<BertFamily>(json);
    const int64_t wanted = is_roberta(json, "decoder") ? make_decoder<RobertaFamily>(json) : make_decoder<BertFamily>(json);
    if (width != wanted) widen = add("enc_to_dec_proj", Linear(width, wanted));
  }

  Tensors forward(const Tensors& inputs) override {
    return {{"logits", writer->forward(decoder_tokens(inputs, cfg.special), memory(inputs), key_mask(optional_input(inputs, "mask")))}};
  }
  Tensor memory(const Tensors& inputs) {  // -> [B, S, D of the decoder]
    const Tensor hidden = read(inputs);
    return widen.is_empty() ? hidden : widen(hidden);
  }

  Decoding start(const Tensors& inputs, int64_t beams, int64_t capacity) override {
    const Tensor source = memory(inputs);
    return writer->start(source, key_mask(optional_input(inputs, "mask")), source.size(0) * beams, capacity);
  }
  Tensor decode(const Tensor& tokens, Decoding& state) override { return writer->step(tokens, state); }
  int64_t longest() const override { return most; }

  void init_weights() override {
    start_encoder();
    writer->starting_values();
    if (!widen.is_empty()) widen->init();
  }

 private:
  template <class Family>
  int64_t make_encoder(const Json& json) {
    const auto config = part_config<typename Family::Config>(json, "encoder");
    auto encoder = add("encoder", typename Family::Encoder(config, /*with_pooler=*/true));
    for (auto& parameter : encoder->pooler->parameters()) parameter.set_requires_grad(false);
    read = [encoder](const Tensors& inputs) mutable { return encoder(inputs); };
    start_encoder = [encoder, config]() mutable {
      init_transformers(*encoder, config.initializer_range);
      zero_padding(encoder->embeddings, Family::padding(config));
    };
    return config.hidden_size;
  }
  template <class Family>
  int64_t make_decoder(const Json& json) {
    const auto config = part_config<DecoderConfig<Family>>(json, "decoder");
    writer = std::make_shared<Decoder<Family>>(config);
    register_module("decoder", writer);
    most = config.longest();
    return config.hidden_size;
  }
};

Entry entry() {
  const auto build = [](const Json& json) -> std::shared_ptr<Model> {
    architecture_of("encoder_decoder", json, "EncoderDecoderModel", {"EncoderDecoderModel"});
    return std::make_shared<EncoderDecoder>(json);
  };
  return {"encoder_decoder", build, [](const Json& json) -> std::vector<InputSpec> {
            const auto number = [&](const char* name, const char* key, int64_t usual) { return double(part(json, name).value(key, usual)); };
            return {{"tokens", {"B", "T"}, "int64", 0, number("encoder", "vocab_size", 30522)},
                    {"mask", {"B", "T"}, "bool", 1, 2},
                    {"token_types", {"B", "T"}, "int64", 0, number("encoder", "type_vocab_size", 2)},
                    {"decoder_tokens", {"B", "U"}, "int64", 0, number("decoder", "vocab_size", 30522)}};
          }};
}

}  // namespace zoo::encoder_decoder
