// Training steps played from a recording leave the losses, weights and running statistics of steps that launch every kernel anew.
#include "app/engine/graphed_training.h"

#include <ATen/ATen.h>
#include <torch/cuda.h>

#include "app/engine/cuda_graph.h"
#include "app/engine/optimizer.h"
#include "app/engine/precision.h"
#include "models/registry.h"
#include "tests/catch.h"
#include "tests/unit/gpu_support.h"

namespace graphed_training_tests {
using zoo::Json;
using zoo::Tensors;
using zoo::app::Autocast;
using zoo::app::GraphedTraining;
using zoo::test::gpu::here;

at::Tensor mean_square(const Tensors& outputs) {
  at::Tensor loss;
  for (const auto& [name, output] : outputs) {
    const at::Tensor part = output.to(at::kFloat).square().mean();
    loss = loss.defined() ? loss + part : part;
  }
  return loss;
}

struct Trained {
  std::vector<double> losses;
  Tensors weights;  // and buffers
  size_t recorded = 0;
};

// Eight steps with batches of two sizes, a rate that changes, and dropout.
Trained train(const char* network, const Json& config, const std::function<Tensors(int64_t)>& batch_of, const char* precision, bool graphs, at::Device device = at::kCUDA) {
  at::manual_seed(11);
  const auto model = zoo::find_entry(network).make(config);
  model->init_weights();
  model->to(device);
  model->train();
  zoo::app::OptimizerOptions options;
  const auto optimizer = zoo::app::make_optimizer(options, *model);
  GraphedTraining step(optimizer->parameters(), [&](const Tensors& batch) {
    at::Tensor loss;
    {
      const Autocast autocast(precision, device);
      loss = mean_square(model->forward(batch));
    }
    loss.backward();
    return loss.detach();
  }, graphs);
  Trained result;
  at::manual_seed(12);
  for (int i = 0; i < 8; ++i) {
    Tensors batch;
    for (const auto& [name, tensor] : batch_of(i % 3 == 2 ? 3 : 4)) batch[name] = tensor.to(device);
    optimizer->zero_grad();
    result.losses.push_back(step(batch).item<double>());
    optimizer->step(1e-3 / (1 + i));
  }
  for (const auto& item : model->named_parameters()) result.weights[item.key()] = item.value().detach().clone();
  for (const auto& item : model->named_buffers()) result.weights[item.key()] = item.value().clone();
  result.recorded = step.recorded();
  return result;
}

void check_same(const Trained& plain, const Trained& recorded) {
  CHECK(plain.recorded == 0);
  CHECK(recorded.recorded == 2);
  CHECK(plain.losses == recorded.losses);
  for (const auto& [name, tensor] : plain.weights) {
    INFO(name);
    CHECK(at::equal(tensor, recorded.weights.at(name)));
  }
}

TEST_CASE("recorded training steps equal plain ones", "[engine][gpu]") {
  if (!here()) return;
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true);  // sums by atomic additions differ from run to run, recorded or not
  const auto pictures = [](int64_t n) { return Tensors{{"image", at::randn({n, 3, 16, 16})}}; };
  const auto series = [](int64_t n) { return Tensors{{"series", at::randn({n, 24, 5})}}; };
  const Json vit = {{"image_size", 16}, {"patch_size", 4}, {"hidden_size", 32}, {"num_hidden_layers", 2}, {"num_attention_heads", 2},
                    {"intermediate_size", 64}, {"hidden_dropout_prob", 0.1}, {"attention_probs_dropout_prob", 0.1}};
  const Json itransformer = {{"seq_len", 24}, {"pred_len", 12}, {"enc_in", 5}, {"d_model", 32}, {"d_ff", 48}, {"e_layers", 2}, {"n_heads", 4}, {"dropout", 0.1}};
  for (const char* precision : {"float32", "bf16"}) {
    INFO(precision);
    check_same(train("vit", vit, pictures, precision, false), train("vit", vit, pictures, precision, true));
    check_same(train("itransformer", itransformer, series, precision, false), train("itransformer", itransformer, series, precision, true));
  }
  at::globalContext().setDeterministicAlgorithms(false, false);
}

// Without the mode that forbids sums in any order. 64 tokens have more distances than LibTorch sums an embedding's gradients of in one order.
TEST_CASE("the steps of a T5 are the same each time, recorded or not", "[engine][gpu]") {
  if (!here()) return;
  const auto texts = [](int64_t n) { return Tensors{{"tokens", at::randint(2, 50, {n, 64}, at::kLong)}, {"mask", at::arange(64) < at::randint(40, 65, {n, 1}, at::kLong)},
                                                    {"decoder_tokens", at::randint(2, 50, {n, 60}, at::kLong)}}; };
  const Json t5 = {{"d_model", 32}, {"d_kv", 8}, {"d_ff", 64}, {"num_layers", 2}, {"num_heads", 4}, {"vocab_size", 50}, {"dropout_rate", 0.1}, {"decoder_start_token_id", 0}};
  for (const char* precision : {"float32", "bf16"}) {
    INFO(precision);
    const Trained plain = train("t5", t5, texts, precision, false);
    for (int round = 0; round < 3; ++round) check_same(plain, train("t5", t5, texts, precision, true));
  }
}

TEST_CASE("running statistics move once a recorded step", "[engine][gpu]") {
  if (!here()) return;
  at::manual_seed(1);
  const at::Tensor weight = at::ones({4}, at::kCUDA).requires_grad_(true), mean = at::zeros({4}, at::kCUDA), variance = at::ones({4}, at::kCUDA), count = at::zeros({}, at::kCUDA);
  GraphedTraining step({weight}, [&](const Tensors& batch) {
    count.add_(1);
    const at::Tensor loss = at::batch_norm(batch.at("x"), weight, {}, mean, variance, true, 0.5, 1e-5, true).square().sum();
    loss.backward();
    return loss.detach();
  });
  at::Tensor expected = at::zeros({4});
  for (int i = 0; i < 5; ++i) {
    const at::Tensor x = at::randn({8, 4});
    weight.mutable_grad().reset();
    step({{"x", x.to(at::kCUDA)}});
    expected = expected * 0.5 + x.mean(0) * 0.5;
    REQUIRE(weight.grad().defined());
  }
  CHECK(step.recorded() == 1);
  CHECK(count.item<double>() == 5);
  CHECK(at::allclose(mean.cpu(), expected, 1e-4, 1e-5));
}

// Work that cannot be recorded goes on without, and harms nothing: random numbers, other recordings.
TEST_CASE("what cannot be recorded is done as before", "[engine][gpu]") {
  if (!here()) return;
  const at::Tensor weight = at::ones({4}, at::kCUDA).requires_grad_(true);
  const auto losses = [&](const std::function<at::Tensor(const at::Tensor&)>& change, bool graphs, size_t recorded) {
    at::manual_seed(5);
    GraphedTraining step({weight}, [&](const Tensors& batch) {
      const at::Tensor loss = change(at::dropout(batch.at("x") * weight, 0.5, true)).sum();
      loss.backward();
      return loss.detach();
    }, graphs);
    std::vector<double> all;
    for (int i = 0; i < 4; ++i) {
      weight.mutable_grad().reset();
      all.push_back(step({{"x", at::ones({16, 4}, at::kCUDA) * i}}).item<double>());
      CHECK(weight.grad().defined());
    }
    CHECK(step.recorded() == recorded);
    return all;
  };
  const auto waits = [](const at::Tensor& x) { return x * x.sum().item<double>(); };
  const auto draws = [](const at::Tensor& x) { return x * at::rand({}).item<double>(); };
  const auto plain = [](const at::Tensor& x) { return x * 2; };
  for (int round = 0; round < 2; ++round) {
    CHECK(losses(waits, true, 0) == losses(waits, false, 0));
    CHECK(losses(draws, true, 0) == losses(draws, false, 0));
    CHECK(losses(plain, true, 1) == losses(plain, false, 0));
  }
}

TEST_CASE("training steps on a CPU are the work itself", "[engine]") {
  const Json config = {{"seq_len", 24}, {"pred_len", 12}, {"enc_in", 5}, {"d_model", 32}, {"d_ff", 48}, {"e_layers", 1}, {"n_heads", 4}, {"dropout", 0.1}};
  const auto series = [](int64_t n) { return Tensors{{"series", at::randn({n, 24, 5})}}; };
  const Trained plain = train("itransformer", config, series, "float32", false, at::kCPU), wanted = train("itransformer", config, series, "float32", true, at::kCPU);
  CHECK(wanted.recorded == 0);
  CHECK(plain.losses == wanted.losses);
}

}  // namespace graphed_training_tests
