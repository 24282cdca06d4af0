#include "models/blocks/heads.h"

#include "models/blocks/dropout.h"
#include "models/blocks/seq2seq.h"

namespace zoo {

ClassificationHeadImpl::ClassificationHeadImpl(int64_t input_width, int64_t width, int64_t classes, double p)
    : dropout(p), dense(add("dense", Linear(input_width, width))), out(add("out_proj", Linear(width, classes))) {}

Tensor ClassificationHeadImpl::forward(const Tensor& x) {
  const auto drop = [&](const Tensor& y) { return fast_dropout(y, dropout, is_training()); };
  return out(drop(at::tanh(dense(drop(x)))));
}

RobertaLmHeadImpl::RobertaLmHeadImpl(const Tensor& words, double eps)
    : bias(param("bias", {words.size(0)})), dense(add("dense", Linear(words.size(1), words.size(1)))),
      norm(add("layer_norm", LayerNorm(words.size(1), eps))), decoder(add("decoder", TiedLinear(words, bias))) {}

Tensor RobertaLmHeadImpl::forward(const Tensor& hidden) {
  return decoder(norm(activated(dense, hidden, "gelu")));  // exact GELU, whatever hidden_act says
}

BertLmHeadImpl::BertLmHeadImpl(const Tensor& words, const std::string& activation_name, double eps)
    : act(activation_name), bias(param("predictions.bias", {words.size(0)})),
      dense(add("predictions.transform.dense", Linear(words.size(1), words.size(1)))),
      norm(add("predictions.transform.LayerNorm", LayerNorm(words.size(1), eps))), decoder(add("predictions.decoder", TiedLinear(words, bias))) {}

Tensor BertLmHeadImpl::forward(const Tensor& hidden) {
  return decoder(mark("predictions.transform", norm(activated(dense, hidden, act))));
}

Tensors answer_span(Linear& layer, const Tensor& hidden) { return span_logits(layer(hidden)); }

}  // namespace zoo
