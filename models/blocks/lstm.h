// torch.nn.LSTM(in, hidden, layers, batch_first=True, bidirectional=True), under its names.
#pragma once
#include "models/module.h"

namespace zoo {

struct BiLstmImpl : Module {
  int64_t in, hidden, layers;
  std::vector<Tensor> weights;  // of each layer forwards, then backwards: input, hidden, and both biases
  BiLstmImpl(int64_t in_features, int64_t hidden_features, int64_t depth);

  Tensor forward(const Tensor& x);  // [B, T, in] -> [B, T, 2 * hidden]
  void init() override;             // as PyTorch: uniform within 1 / sqrt(hidden)

 private:
  void lay_in_one_piece();
};
ZOO_MODULE(BiLstm);

}  // namespace zoo
