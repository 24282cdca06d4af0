// The kernels and functions of gpu_training.h against the plain operations in double. They need a GPU and a build with CUDA's headers.
#include "models/blocks/gpu_training.h"

#include <ATen/ATen.h>

#include "app/engine/precision.h"
#include "tests/catch.h"
#include "tests/unit/gpu_support.h"

namespace zoo::test::gpu_training {
namespace {
using namespace gpu;

double allowed(at::ScalarType type) { return type == at::kFloat ? 4e-6 : type == at::kHalf ? 3e-3 : 2e-2; }  // some roundings on the way

at::Tensor leaf(const at::Tensor& x) { return x.detach().clone().requires_grad_(true); }
at::Tensor exact_leaf(const at::Tensor& x) { return x.detach().to(at::kDouble).requires_grad_(true); }

// Backward with fixed gradients of the outputs; undefined ones arrive as none.
void backward(const std::vector<at::Tensor>& outputs, const std::vector<at::Tensor>& gradients) {
  at::Tensor loss;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const at::Tensor part = (outputs[i].to(at::kDouble) * gradients[i].to(at::kDouble)).sum();
    loss = loss.defined() ? loss + part : part;
  }
  loss.backward();
}

}  // namespace

TEST_CASE("sums of columns on a GPU", "[gpu]") {
  if (!here()) return;
  at::manual_seed(4);
  for (const auto type : kTypes) {
    for (const auto& [rows, width] : std::vector<std::pair<int64_t, int64_t>>{{25216, 768}, {33, 8192}, {300000, 8}, {5001, 264}, {700, 3000}, {9, 8}, {4000, 77}}) {
      INFO(c10::toString(type) << ", " << rows << " x " << width);
      const at::Tensor x = at::randn({rows, width}).to(at::kCUDA, type), y = column_sums(x);
      CHECK(y.scalar_type() == type);
      CHECK(difference(y, x.to(at::kDouble).sum(0)) < allowed(type));
      CHECK(at::equal(y, column_sums(x)));
    }
  }
}

TEST_CASE("layer norms and their gradients on a GPU", "[gpu]") {
  if (!here()) return;
  at::manual_seed(5);
  for (const auto type : kTypes) {
    for (const auto& [rows, width] : std::vector<std::pair<int64_t, int64_t>>{{1, 8}, {7, 64}, {3000, 768}, {5000, 1024}, {129, 200}}) {
      INFO(c10::toString(type) << ", " << rows << " x " << width);
      const auto random = [&](std::vector<int64_t> shape) { return at::randn(shape).to(at::kCUDA, type); };
      const at::Tensor x = leaf(random({rows, 1, width}) + 3), change = leaf(random({rows, 1, width})), weight = leaf(1 + 0.1 * random({width})), bias = leaf(random({width}));
      const at::Tensor to_y = random({rows, 1, width}), to_sum = random({rows, 1, width});
      for (const bool beside : {false, true}) {
        for (const bool added : {false, true}) {
          if (added && !beside) continue;
          INFO("beside " << beside << ", added " << added);
          const at::Tensor ex = exact_leaf(x), ec = exact_leaf(change), ew = exact_leaf(weight), eb = exact_leaf(bias);
          for (const auto* t : {&x, &change, &weight, &bias}) t->mutable_grad().reset();
          // The norm is that of the rounded sum.
          const at::Tensor exact_sum = added ? ex + ec + ((x + change).detach().to(at::kDouble) - ex.detach() - ec.detach()) : ex;
          const at::Tensor exact = at::layer_norm(exact_sum, {width}, ew, eb, 1e-6);
          if (beside) {
            const auto both = trained_layer_norm_beside(x, added ? change : at::Tensor(), weight, bias, 1e-6);
            if (!both[1].defined()) {
              CHECK((type == at::kFloat && width > 1024));
              continue;
            }
            CHECK(difference(both[0], exact_sum) < allowed(type));
            CHECK(difference(both[1], exact) < allowed(type));
            backward({both[0], both[1]}, {to_sum, to_y});
            backward({exact_sum, exact}, {to_sum, to_y});
          } else {
            const at::Tensor y = trained_layer_norm(x, weight, bias, 1e-6);
            CHECK(difference(y, exact) < allowed(type));
            backward({y}, {to_y});
            backward({exact}, {to_y});
          }
          if (width > 8 || beside) CHECK(difference(x.grad(), ex.grad()) < allowed(type));
          if (added) CHECK(at::equal(change.grad(), x.grad()));
          CHECK(difference(weight.grad(), ew.grad()) < allowed(type));
          CHECK(difference(bias.grad(), eb.grad()) < allowed(type));
        }
      }
      // Only the sum is used further on.
      x.mutable_grad().reset();
      backward({trained_layer_norm_beside(x, {}, weight, bias, 1e-6)[0]}, {to_sum});
      CHECK(at::equal(x.grad(), to_sum));
    }
    const auto plain = [&](int64_t width) { return at::ones({2, width}, at::TensorOptions(at::kCUDA).dtype(type)).requires_grad_(true); };
    CHECK(!trained_layer_norm(plain(6), plain(6)[0], plain(6)[1], 1e-6).defined());        // no whole vectors
    CHECK(!trained_layer_norm(plain(4096), plain(4096)[0], plain(4096)[1], 1e-6).defined());  // too wide
  }
}

TEST_CASE("linear layers and their gradients on a GPU", "[gpu]") {
  if (!here()) return;
  at::manual_seed(6);
  for (const auto type : kTypes) {
    for (const auto& [rows, in, out] : std::vector<std::array<int64_t, 3>>{{5, 8, 16}, {700, 64, 512}, {3, 7, 5}}) {
      INFO(c10::toString(type) << ", " << rows << " x " << in << " -> " << out);
      const auto random = [&](std::vector<int64_t> shape) { return at::randn(shape).to(at::kCUDA, type); };
      const at::Tensor x = leaf(random({rows, 2, in}));
      std::array<LinearWeight, 3> layers, none;
      for (size_t i = 0; i < 3; ++i) {
        layers[i].weight = leaf(i == 2 ? random({in, out}).t() / 4 : random({out, in}) / 4);  // one stored inputs first
        if (i != 1) layers[i].bias = leaf(random({out}));
      }
      for (const int what : {0, 1, 3}) {  // one layer, one with GELU, three
        INFO(what);
        const size_t count = what == 3 ? 3 : 1;
        auto used = none;
        for (size_t i = 0; i < count; ++i) used[i] = layers[i];
        const auto y = trained_linear(x, used, what == 1);
        const at::Tensor ex = exact_leaf(x);
        x.mutable_grad().reset();
        std::vector<at::Tensor> outputs, exact, gradients;
        std::array<LinearWeight, 3> same;
        for (size_t i = 0; i < count; ++i) {
          used[i].weight.mutable_grad().reset();
          same[i].weight = exact_leaf(used[i].weight);
          if (used[i].bias.defined()) used[i].bias.mutable_grad().reset(), same[i].bias = exact_leaf(used[i].bias);
          const at::Tensor product = at::linear(ex, same[i].weight, used[i].bias.defined() ? std::optional<at::Tensor>(same[i].bias) : std::nullopt);
          exact.push_back(what == 1 ? at::gelu(product) : product);
          outputs.push_back(y[i]);
          gradients.push_back(random({rows, 2, out}));
          CHECK(difference(y[i], exact[i]) < allowed(type));
        }
        backward(outputs, gradients);
        backward(exact, gradients);
        CHECK(difference(x.grad(), ex.grad()) < allowed(type));
        for (size_t i = 0; i < count; ++i) {
          CHECK(difference(used[i].weight.grad(), same[i].weight.grad()) < allowed(type));
          CHECK(used[i].weight.grad().strides() == used[i].weight.strides());
          if (used[i].bias.defined()) CHECK(difference(used[i].bias.grad(), same[i].bias.grad()) < allowed(type));
        }
      }
    }
  }
}

// As LibTorch's own operations under autocast: the type, and the gradients' types.
TEST_CASE("linear layers and norms on a GPU under autocast", "[gpu]") {
  if (!here()) return;
  at::manual_seed(7);
  const at::Tensor x = leaf(at::randn({600, 64}).to(at::kCUDA)), weight = leaf(at::randn({512, 64}).to(at::kCUDA) / 8), bias = leaf(at::randn({512}).to(at::kCUDA));
  const at::Tensor gains = leaf(at::ones({64}, at::kCUDA)), offsets = leaf(at::zeros({64}, at::kCUDA));
  const auto gradients = [&](bool own) {
    for (const auto* t : {&x, &weight, &bias, &gains, &offsets}) t->mutable_grad().reset();
    at::Tensor loss;
    {
      const app::Autocast autocast("bf16", at::kCUDA);
      const at::Tensor normed = own ? trained_layer_norm(x, gains, offsets, 1e-5) : at::layer_norm(x, {64}, gains, offsets, 1e-5);
      REQUIRE(normed.scalar_type() == at::kFloat);
      const at::Tensor y = own ? trained_linear(normed, {{{weight, bias}, {}, {}}}, false)[0] : at::linear(normed, weight, bias);
      CHECK(y.scalar_type() == at::kBFloat16);
      loss = y.to(at::kFloat).square().mean();
    }
    loss.backward();
    return std::vector<at::Tensor>{x.grad(), weight.grad(), bias.grad(), gains.grad(), offsets.grad()};
  };
  const auto plain = gradients(false), own = gradients(true);
  for (size_t i = 0; i < plain.size(); ++i) {
    INFO(i);
    CHECK(own[i].scalar_type() == at::kFloat);
    CHECK(difference(own[i], plain[i]) < allowed(at::kBFloat16));
  }
  const at::NoGradGuard no_gradients;
  CHECK(!trained_layer_norm(x, gains, offsets, 1e-5).defined());
  CHECK(!trained_linear(x, {{{weight, bias}, {}, {}}}, false)[0].defined());
}

}  // namespace zoo::test::gpu_training
