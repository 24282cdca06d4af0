// The kernels of gpu_rows.h against the plain operations. They need a GPU and a build with CUDA's headers.
#include "models/blocks/gpu_rows.h"

#include <ATen/ATen.h>

#include "models/blocks/attention.h"
#include "models/blocks/layers.h"
#include "models/blocks/linear.h"
#include "models/blocks/positions.h"
#include "tests/catch.h"
#include "tests/unit/gpu_support.h"

namespace zoo::test::gpu_rows {
namespace {
using namespace gpu;

double allowed(at::ScalarType type) { return type == at::kFloat ? 2e-6 : type == at::kHalf ? 1e-3 : 8e-3; }  // half a unit in the last place

}  // namespace

TEST_CASE("products of few rows on a GPU", "[gpu]") {
  if (!here()) return;
  const c10::InferenceMode guard;
  at::manual_seed(3);
  for (const auto type : kTypes) {
    const auto random = [&](std::vector<int64_t> shape) { return at::randn(shape).to(at::kCUDA, type); };
    for (const auto& [out, in] : std::vector<std::pair<int64_t, int64_t>>{{1, 8}, {7, 64}, {768, 768}, {3072, 768}, {768, 3072}, {9001, 520}}) {
      const at::Tensor weight = random({out, in}), bias = random({out});
      for (const int64_t rows : {1, 2, 3, 5, 8}) {
        INFO(c10::toString(type) << ", " << rows << " x " << in << " -> " << out);
        const at::Tensor x = random({rows, 1, in}), residual = random({rows, 1, out});
        const at::Tensor exact = at::linear(x.to(at::kDouble), weight.to(at::kDouble));
        CHECK(difference(gpu_linear(x, weight, {}, Pointwise::none, {}), exact) < allowed(type));
        CHECK(difference(gpu_linear(x, weight, bias, Pointwise::relu, residual), at::relu(exact + bias) + residual) < allowed(type));
        CHECK(difference(gpu_linear(x, weight, bias, Pointwise::gelu, {}), at::gelu(exact + bias)) < allowed(type));
        CHECK(difference(gpu_linear(x, weight, bias, Pointwise::gelu_tanh, {}), at::gelu(exact + bias, "tanh")) < allowed(type));
        CHECK(difference(gpu_linear(x, weight, bias, Pointwise::silu, {}), at::silu(exact + bias)) < allowed(type));
        // A row's numbers do not depend on the others.
        if (rows > 1) {  // the last one alone
          const at::Tensor last = x.slice(0, rows - 1), all = gpu_linear(x, weight, bias, Pointwise::none, {});
          CHECK(at::equal(gpu_linear(last, weight, bias, Pointwise::none, {}), all.slice(0, rows - 1)));
        }
        const auto three = gpu_linear(x, std::array<LinearWeight, 3>{{{weight, bias}, {weight, {}}, {weight.flip(0).contiguous(), bias}}});
        CHECK(difference(three[0], exact + bias) < allowed(type));
        CHECK(difference(three[1], exact) < allowed(type));
        CHECK(difference(three[2], exact.flip(-1) + bias) < allowed(type));
      }
    }
    const at::Tensor weight = random({16, 64});
    CHECK(!gpu_linear(random({9, 64}), weight, {}, Pointwise::none, {}).defined());             // too many rows
    CHECK(!gpu_linear(random({2, 64}), weight.t(), {}, Pointwise::none, {}).defined());         // another layout
    CHECK(!gpu_linear(random({2, 64}), weight, {}, Pointwise::none, random({1, 16})).defined());  // a residual that would spread
    CHECK(!gpu_linear(random({2, 64}), weight.to(at::kDouble), {}, Pointwise::none, {}).defined());
  }
  CHECK(!gpu_linear(at::ones({1, 64}), at::ones({16, 64}), {}, Pointwise::none, {}).defined());  // on the CPU
}

TEST_CASE("RMS norms of few rows on a GPU", "[gpu]") {
  if (!here()) return;
  const c10::InferenceMode guard;
  at::manual_seed(5);
  for (const auto type : kTypes) {
    for (const int64_t width : {8, 768, 5000}) {
      INFO(c10::toString(type) << ", width " << width);
      const at::Tensor x = at::randn({3, 2, width}).to(at::kCUDA, type), weight = at::randn({width}).to(at::kCUDA, type), exact = x.to(at::kDouble);
      CHECK(difference(gpu_rms_norm(x, weight, 1e-6), exact * at::rsqrt(exact.square().mean(-1, true) + 1e-6) * weight) < allowed(type));
    }
  }
}

TEST_CASE("layer norms on a GPU", "[gpu]") {
  if (!here()) return;
  const c10::InferenceMode guard;
  at::manual_seed(6);
  for (const auto type : kTypes) {
    for (const int64_t width : {8, 24, 768, 1000}) {
      for (const int64_t rows : {1, 7, 197, 3000}) {
        INFO(c10::toString(type) << ", " << rows << " rows of " << width);
        const auto random = [&](std::vector<int64_t> shape) { return at::randn(shape).to(at::kCUDA, type); };
        const at::Tensor x = random({rows, width}) + 3, residual = random({rows, width}), weight = random({width}), bias = random({width});
        const auto exact = [&](const at::Tensor& of) { return at::layer_norm(of.to(at::kDouble), {width}, weight.to(at::kDouble), bias.to(at::kDouble), 1e-5); };
        CHECK(difference(gpu_layer_norm(x, {}, weight, bias, 1e-5, nullptr), exact(x)) < allowed(type));
        at::Tensor sum = residual;  // the same name for both
        CHECK(difference(gpu_layer_norm(x, sum, weight, bias, 1e-5, &sum), exact(x + residual)) < allowed(type));
        CHECK(at::equal(sum, x + residual));
        CHECK(difference(gpu_layer_norm(x, residual, weight, bias, 1e-5, nullptr), exact(x + residual)) < allowed(type));
      }
    }
    const at::Tensor x = at::ones({2, 16}).to(at::kCUDA, type), ones = at::ones({16}).to(at::kCUDA, type);
    CHECK(!gpu_layer_norm(x, x.slice(0, 1), ones, ones, 1e-5, nullptr).defined());  // a residual that would spread
    CHECK(!gpu_layer_norm(x.t(), {}, ones, ones, 1e-5, nullptr).defined());
    CHECK(!gpu_layer_norm(at::ones({2, 40000}).to(at::kCUDA, type), {}, at::ones({40000}).to(at::kCUDA, type), at::ones({40000}).to(at::kCUDA, type), 1e-5, nullptr).defined());
  }
  const at::Tensor ones = at::ones({16});
  CHECK(!gpu_layer_norm(at::ones({2, 16}), {}, ones, ones, 1e-5, nullptr).defined());
}

TEST_CASE("queries, keys and values of many rows on a GPU are one product", "[gpu]") {
  if (!here()) return;
  at::manual_seed(8);
  Linear q(32, 16), k(32, 16), v(32, 16);
  for (Linear layer : {q, k, v}) {
    layer->init();
    layer->to(at::Device(at::kCUDA), at::kBFloat16);
  }
  const at::Tensor x = at::randn({3, 20, 32}).to(at::kCUDA, at::kBFloat16);
  const c10::InferenceMode guard;
  CHECK(!LinearLayer::together({q.get(), k.get(), v.get()}, x)[0].defined());  // weights may still change
  for (Linear layer : {q, k, v}) layer->pack();
  for (int round = 0; round < 2; ++round) {
    const auto y = LinearLayer::together({q.get(), k.get(), v.get()}, x);
    CHECK(difference(y[0], q(x)) < allowed(at::kBFloat16));
    CHECK(difference(y[1], k(x)) < allowed(at::kBFloat16));
    CHECK(difference(y[2], v(x)) < allowed(at::kBFloat16));
  }
  CHECK(!LinearLayer::together({q.get(), v.get(), k.get()}, x)[0].defined());  // others than the copied ones
}

TEST_CASE("patches on a GPU are rows of a product", "[gpu]") {
  if (!here()) return;
  at::manual_seed(9);
  Conv2d layer(3, 10, 4, 4);
  layer->init();
  const at::Tensor image = at::randn({2, 3, 12, 8}), expected = layer(image);
  layer->to(at::Device(at::kCUDA));
  for (const auto format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
    const at::Tensor got = layer(image.to(at::kCUDA).contiguous(format));
    CHECK(difference(got.cpu(), expected) < 2e-6);
    layer->weight.mutable_grad() = at::Tensor();
    got.square().sum().backward();
    CHECK(layer->weight.grad().defined());
  }
  const at::Tensor token = at::randn({1, 1, 4}), patches = at::randn({2, 3, 4}), positions = at::randn({1, 4, 4});
  const at::NoGradGuard no_grad;
  CHECK(at::equal(with_class_token(token.cuda(), patches.cuda(), positions.cuda()).cpu(), with_class_token(token, patches, positions)));
}

TEST_CASE("attention of one query on a GPU", "[gpu]") {
  if (!here()) return;
  const c10::InferenceMode guard;
  at::manual_seed(4);
  // Scores reach 30 here: their last bit is 2e-6 of what they become.
  const auto within = [](at::ScalarType type) { return type == at::kFloat ? 1e-5 : allowed(type); };
  for (const auto type : kTypes) {
    const auto random = [&](std::vector<int64_t> shape) { return at::randn(shape).to(at::kCUDA, type); };
    const auto doubled = [](const at::Tensor& t) { return t.to(at::kDouble); };
    for (const int64_t width : {16, 64, 128}) {
      for (const int64_t length : {1, 7, 64, 129, 700}) {
        for (const int64_t copies : {1, 3}) {
          INFO(c10::toString(type) << ", width " << width << ", length " << length << ", copies " << copies);
          const int64_t heads = 4, beams = 2;
          const at::Tensor keys = random({copies, heads, length, width}), values = random({copies, heads, length, width});
          const at::Tensor q = random({copies * beams, 1, heads * width}).view({copies * beams, 1, heads, width}).transpose(1, 2);
          const at::Tensor hidden = at::rand({copies, 1, 1, length}).to(at::kCUDA) > 0.7, none = at::zeros({1}, q.options());
          hidden.narrow(3, 0, 1).fill_(false);
          const at::Tensor mask = none.masked_fill(hidden, -INFINITY);
          const auto spread = [&](const at::Tensor& t) { return doubled(t).repeat_interleave(beams, 0); };
          CHECK(difference(gpu_attend(q, keys, values, mask, 0.3), attention(doubled(q), spread(keys), spread(values), spread(mask), 0.0, 0.3)) < within(type));
          CHECK(difference(gpu_attend(q, keys, values, {}, 0.3), attention(doubled(q), spread(keys), spread(values), {}, 0.0, 0.3)) < within(type));

          // A row's own tokens: the newest in the middle, rows that read each other's entries.
          const int64_t last = length / 2;
          const at::Tensor own = q.narrow(0, 0, copies), key = random({copies, heads, 1, width}), value = random({copies, heads, 1, width}), bias = random({1, heads, 1, length});
          const at::Tensor position = at::full({1}, last, at::TensorOptions(at::kLong).device(at::kCUDA));
          const at::Tensor origin = at::randint(copies, {copies, length}, at::kLong).to(at::kCUDA);
          origin.narrow(1, last, 1).copy_(at::arange(copies, origin.options()).unsqueeze(1));
          for (const bool straight : {true, false}) {
            at::Tensor expected_keys = keys.clone(), expected_values = values.clone();
            expected_keys.narrow(2, last, 1).copy_(key);
            expected_values.narrow(2, last, 1).copy_(value);
            const auto read = [&](const at::Tensor& cache) {
              const at::Tensor seen = straight ? cache : cache.transpose(1, 2).index({origin, at::arange(length, origin.options()).unsqueeze(0)}).transpose(1, 2);
              return doubled(seen.narrow(2, 0, last + 1));
            };
            const at::Tensor exact = attention(doubled(own), read(expected_keys), read(expected_values), doubled(bias.narrow(3, 0, last + 1)), 0.0, 1.0);
            CHECK(difference(gpu_attend(own, {key, value, position, straight ? at::Tensor() : origin}, keys, values, bias, 1.0), exact) < within(type));
            CHECK(at::equal(keys, expected_keys));
            CHECK(at::equal(values, expected_values));
          }
        }
      }
    }
    CHECK(!gpu_attend(random({1, 2, 1, 24}), random({1, 2, 5, 24}), random({1, 2, 5, 24}), {}, 1.0).defined());  // no power of two
    CHECK(!gpu_attend(random({1, 2, 2, 32}), random({1, 2, 5, 32}), random({1, 2, 5, 32}), {}, 1.0).defined());  // two queries
  }
}

}  // namespace zoo::test::gpu_rows
