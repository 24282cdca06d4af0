#include "models/blocks/lstm.h"

#include <ATen/ATen.h>

#include <cmath>

namespace zoo {

BiLstmImpl::BiLstmImpl(int64_t in_features, int64_t hidden_features, int64_t depth) : in(in_features), hidden(hidden_features), layers(depth) {
  for (int64_t layer = 0; layer < layers; ++layer) {
    for (const std::string direction : {"", "_reverse"}) {
      const std::string end = "_l" + std::to_string(layer) + direction;
      weights.push_back(param("weight_ih" + end, {4 * hidden, layer == 0 ? in : 2 * hidden}));
      weights.push_back(param("weight_hh" + end, {4 * hidden, hidden}));
      weights.push_back(param("bias_ih" + end, {4 * hidden}));
      weights.push_back(param("bias_hh" + end, {4 * hidden}));
    }
  }
}

Tensor BiLstmImpl::forward(const Tensor& x) {
  lay_in_one_piece();
  const Tensor start = at::zeros({2 * layers, x.size(0), hidden}, x.options());
  return std::get<0>(at::lstm(x, {start, start}, weights, /*has_biases=*/true, layers, /*dropout=*/0.0, is_training(),
                              /*bidirectional=*/true, /*batch_first=*/true));
}

// cuDNN reads all weights as one piece of memory and else copies them together, with a warning, in every call. The tensors stay who
// they are, for optimizer and checkpoint; only where their values lie changes, as in nn.LSTM::flatten_parameters().
void BiLstmImpl::lay_in_one_piece() {
  if (!weights.front().is_cuda() || weights.front().is_alias_of(weights.back()) || !at::_use_cudnn_rnn_flatten_weight()) return;
  constexpr int64_t kLstm = 2;  // cudnnRNNMode_t
  const at::NoGradGuard no_grad;
  at::_cudnn_rnn_flatten_weight(weights, /*weight_stride0=*/4, in, kLstm, hidden, /*proj_size=*/0, layers, /*batch_first=*/true, /*bidirectional=*/true);
}

void BiLstmImpl::init() {
  const double bound = 1.0 / std::sqrt(static_cast<double>(hidden));
  const at::NoGradGuard no_grad;
  for (auto& weight : weights) weight.uniform_(-bound, bound);
}

}  // namespace zoo
