// Heads that several text networks share. Reference: transformers 5.23.0.
#pragma once
#include <string>

#include "models/blocks/layers.h"
#include "models/blocks/linear.h"
#include "models/model.h"

namespace zoo {

// Classes from one vector a text: dropout, dense, tanh, dropout, out_proj (RobertaClassificationHead, BartClassificationHead).
// Keys dense, out_proj.
struct ClassificationHeadImpl : Module {
  double dropout;
  Linear dense, out;
  ClassificationHeadImpl(int64_t input_width, int64_t width, int64_t classes, double dropout);

  Tensor forward(const Tensor& x);  // [B, input_width] -> [B, classes]
};
ZOO_MODULE(ClassificationHead);

// Tokens from their states by RoBERTa's and MPNet's way: dense, GELU, norm, and the table of embeddings. Keys dense, layer_norm,
// bias; decoder.weight is the table, decoder.bias the bias.
struct RobertaLmHeadImpl : Module {
  Tensor bias;  // [vocabulary]
  Linear dense;
  LayerNorm norm;
  TiedLinear decoder;
  RobertaLmHeadImpl(const Tensor& table, double eps);

  Tensor forward(const Tensor& hidden);  // [B, T, width] -> [B, T, vocabulary]
};
ZOO_MODULE(RobertaLmHead);

// The same by BERT's way: the activation is the config's. Keys predictions.transform.{dense,LayerNorm}, predictions.bias,
// predictions.decoder.{weight,bias}.
struct BertLmHeadImpl : Module {
  std::string act;
  Tensor bias;
  Linear dense;
  LayerNorm norm;
  TiedLinear decoder;
  BertLmHeadImpl(const Tensor& table, const std::string& activation, double eps);

  Tensor forward(const Tensor& hidden);
};
ZOO_MODULE(BertLmHead);

// An answer's span: key qa_outputs. [B, T, width] -> "start_logits" and "end_logits" [B, T].
Tensors answer_span(Linear& layer, const Tensor& hidden);

}  // namespace zoo
