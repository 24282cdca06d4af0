#include "models/decoding.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "models/blocks/attention.h"
#include "models/blocks/gpu_rows.h"
#include "models/blocks/row_kernels.h"

namespace zoo {
namespace decoding_detail {

// Rows of heads that are worth a thread of their own: what waking it costs is a thousand keys.
int64_t worth_a_thread(int64_t length) { return std::max<int64_t>(1, 2048 / length); }

// Where one head's newest row [d] of t [rows, heads, 1, d] stands; d must be dense.
const float* newest(const Tensor& t, int64_t row, int64_t head) { return t.const_data_ptr<float>() + row * t.stride(0) + head * t.stride(1); }
Tensor dense_rows(const Tensor& t) { return t.stride(3) == 1 ? t : t.contiguous(); }

// Single steps in float32 on the CPU: writes the newest keys and values [rows, heads, 1, d] into the cache and reads it in place, as
// gathering would cost more. bias [1 or rows, heads, 1, length].
Tensor attend_in_place(const Tensor& query, const Tensor& key, const Tensor& value, const Decoding& state, const Decoding::Layer& layer, const Tensor& bias,
                       double scale) {
  const int64_t rows = query.size(0), heads = query.size(1), width = query.size(3), length = state.length;
  const Tensor q = dense_rows(query), k = dense_rows(key), v = dense_rows(value);
  const Tensor out = at::empty({rows, heads, 1, width}, q.options());
  const Tensor added = bias.defined() ? bias.expand({rows, heads, 1, length}) : Tensor();
  const Tensor bias_rows = added.defined() && added.stride(3) != 1 ? added.contiguous() : added;
  const int64_t head_stride = layer.key.stride(1), row_stride = layer.key.stride(0), last = (length - 1) * width;
  auto *keys = layer.key.mutable_data_ptr<float>(), *values = layer.value.mutable_data_ptr<float>();
  at::parallel_for(0, rows * heads, worth_a_thread(length), [&](int64_t begin, int64_t end) {
    std::vector<float> scores(static_cast<size_t>(length + kRowRoom));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / heads, head = i % heads;
      std::copy_n(newest(k, row, head), width, keys + row * row_stride + head * head_stride + last);  // its own row: no other task reads it
      std::copy_n(newest(v, row, head), width, values + row * row_stride + head * head_stride + last);
      AttentionStep step{newest(q, row, head), keys + head * head_stride, values + head * head_stride, nullptr,
                state.origin.const_data_ptr<int64_t>() + row * state.origin.stride(0), out.mutable_data_ptr<float>() + i * width,
                length, row_stride, width, static_cast<float>(scale)};
      if (bias_rows.defined()) step.bias = bias_rows.const_data_ptr<float>() + row * bias_rows.stride(0) + head * bias_rows.stride(1);
      attend_row(step, scores.data());
    }
  });
  return out;
}

// The same for the source: keys and values [inputs, heads, S, d], read by the rows [inputs * beams] of each input. mask [inputs, 1, 1, S]
// bool that keeps something in every row, or undefined.
Tensor attend_source(const Tensor& query, const Decoding::Layer& layer, const Tensor& mask, double scale) {
  const int64_t rows = query.size(0), heads = query.size(1), width = query.size(3), inputs = layer.source_key.size(0);
  const int64_t length = layer.source_key.size(2), beams = rows / inputs;
  const Tensor q = dense_rows(query), out = at::empty({rows, heads, 1, width}, q.options());
  const Tensor bias = mask.defined() ? at::zeros(mask.sizes(), q.options()).masked_fill_(mask.logical_not(), -INFINITY).contiguous() : Tensor();
  at::parallel_for(0, inputs * heads, std::max<int64_t>(1, worth_a_thread(length) / beams), [&](int64_t begin, int64_t end) {
    std::vector<float> scores(static_cast<size_t>(length + kRowRoom));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t input = i / heads, head = i % heads;
      for (int64_t row = input * beams; row < (input + 1) * beams; ++row) {  // one after the other while the head's keys are in the cache
        attend_row({newest(q, row, head), layer.source_key.const_data_ptr<float>() + i * length * width, layer.source_value.const_data_ptr<float>() + i * length * width,
                    bias.defined() ? bias.const_data_ptr<float>() + input * length : nullptr, nullptr, out.mutable_data_ptr<float>() + (row * heads + head) * width,
                    length, 0, width, static_cast<float>(scale)}, scores.data());
      }
    }
  });
  return out;
}

// Whether attend_source() takes it: one new token a row, float32 on the CPU, nothing to derive, and a mask of the plain form.
bool reads_source_in_place(const Tensor& q, const Decoding::Layer& layer, const Tensor& mask) {
  const auto plain = [](const Tensor& t) { return t.is_cpu() && t.scalar_type() == at::kFloat; };
  if (q.size(2) != 1 || at::GradMode::is_enabled() || !plain(q) || !plain(layer.source_key) || layer.source_key.size(2) == 0) return false;
  if (!layer.source_key.is_contiguous() || !layer.source_value.is_contiguous() || layer.source_key.sizes() != layer.source_value.sizes()) return false;
  return !mask.defined() || (mask.scalar_type() == at::kBool && mask.dim() == 4 && mask.numel() == layer.source_key.size(0) * layer.source_key.size(2) &&
                             mask.any(-1).all().item<bool>());
}

// bias with -infinity at padding; undefined when there is neither. [1 or rows, 1 or heads, 1, length]
Tensor bias_with_padding(const Tensor& bias, const Decoding& state, const at::TensorOptions& options) {
  if (!state.token_mask.defined()) return bias;
  const Tensor padding = state.token_mask.narrow(1, 0, state.length).logical_not().unsqueeze(1).unsqueeze(1);
  return (bias.defined() ? bias : at::zeros({1, 1, 1, 1}, options)).masked_fill(padding, -INFINITY);
}

// [rows, heads, length, d]: a view while rows read their own entries, else gathered.
Tensor entries(const Tensor& cache, const Decoding& state, int64_t rows) {
  if (state.straight) return cache.narrow(0, 0, rows).narrow(2, 0, state.length);
  const Tensor from = state.origin.narrow(1, 0, state.length);                            // [rows, length]
  const Tensor place = at::arange(state.length, from.options());                          // [length]
  return cache.transpose(1, 2).index({from, place.unsqueeze(0)}).transpose(1, 2);         // [rows, length, heads, d] -> ...
}

// What may not be attended to: padding, and among several new tokens the later ones. Undefined when nothing is hidden.
Tensor hidden_mask(const Decoding& state, int64_t steps, const at::TensorOptions& options) {
  Tensor keep;
  if (steps > 1) {
    keep = at::ones({steps, state.length}, options.dtype(at::kBool)).tril(state.length - steps).unsqueeze(0).unsqueeze(0);
  }
  if (!state.token_mask.defined()) return keep;
  const Tensor rows = state.token_mask.narrow(1, 0, state.length).unsqueeze(1).unsqueeze(1);  // [rows, 1, 1, length]
  if (!keep.defined()) return rows;
  // What padding itself computes is never read, but must be a number: it attends to itself.
  const Tensor itself = keep.logical_xor(keep.tril(state.length - steps - 1));
  return keep.logical_and(rows).logical_or(itself);
}

// ---- fixed states ----

// Announces one more token: moves the position, on the device, and says what can be read from there.
void grow_fixed(Decoding& state, int64_t rows) {
  state.position.add_(1);
  if (!state.straight) state.origin.index_copy_(1, state.position, at::arange(rows, state.origin.options()).unsqueeze(1));
  Tensor hidden = at::arange(state.capacity, state.position.options()).gt(state.position).unsqueeze(0);  // [1, capacity]
  if (state.token_mask.defined()) hidden = hidden.logical_or(state.token_mask.logical_not());
  const Tensor none = at::zeros({1, 1}, state.layers.front().key.options());
  state.visible = none.masked_fill(hidden, -INFINITY).unsqueeze(1).unsqueeze(1);
}

Tensor attend_fixed(const Tensor& q, const Tensor& k, const Tensor& v, const Decoding& state, const Decoding::Layer& layer, const Tensor& bias, double scale) {
  const Tensor mask = bias.defined() ? bias : state.visible;
  const Newest newest{k, v, state.position, state.straight ? Tensor() : state.origin};
  if (const Tensor y = gpu_attend(q, newest, layer.key, layer.value, mask, scale); y.defined()) return y;
  layer.key.index_copy_(2, state.position, k);
  layer.value.index_copy_(2, state.position, v);
  if (state.straight) return attention(q, layer.key, layer.value, mask, 0.0, scale);
  const Tensor place = at::arange(state.capacity, state.origin.options()).unsqueeze(0);
  const auto gathered = [&](const Tensor& cache) { return cache.transpose(1, 2).index({state.origin, place}).transpose(1, 2); };
  return attention(q, gathered(layer.key), gathered(layer.value), mask, 0.0, scale);
}

}  // namespace decoding_detail

void Decoding::allocate(int64_t layer_count, int64_t rows, int64_t heads, int64_t room, int64_t width, const at::TensorOptions& options) {
  capacity = room;
  layers.resize(static_cast<size_t>(layer_count));
  for (Layer& layer : layers) {
    layer.key = at::empty({rows, heads, capacity, width}, options);
    layer.value = at::empty({rows, heads, capacity, width}, options);
  }
}

void Decoding::grow(int64_t rows, int64_t steps) {
  TORCH_CHECK_VALUE(length + steps <= capacity, "decoding: ", length + steps, " tokens, but start() made room for ", capacity);
  TORCH_CHECK_VALUE(layers.empty() || rows <= layers.front().key.size(0), "decoding: ", rows, " rows, but start() made room for ",
                    layers.front().key.size(0));
  if (fixed()) {
    TORCH_CHECK_VALUE(steps == 1 && !layers.empty() && rows == layers.front().key.size(0), "decoding: a fixed state takes one token for each of its rows; seen ",
                      steps, " for ", rows);
    ++length;
    return decoding_detail::grow_fixed(*this, rows);
  }
  const at::Device device = layers.empty() ? at::Device(at::kCPU) : layers.front().key.device();
  if (!origin.defined()) origin = at::zeros({rows, capacity}, at::TensorOptions().dtype(at::kLong).device(device));
  TORCH_CHECK_VALUE(origin.size(0) == rows, "decoding: tokens for ", rows, " rows; expected ", origin.size(0), " (select() changes their number)");
  origin.narrow(1, length, steps).copy_(at::arange(rows, origin.options()).unsqueeze(1));
  length += steps;
}

void Decoding::select(const Tensor& rows) {
  if (fixed()) {  // in place: a recorded step reads this memory
    origin.copy_(origin.index_select(0, rows));
    if (token_mask.defined()) token_mask.copy_(token_mask.index_select(0, rows));
    return;
  }
  origin = origin.index_select(0, rows);
  if (token_mask.defined()) token_mask = token_mask.index_select(0, rows);
  straight = false;
}

void Decoding::keep_inputs(const Tensor& inputs) {
  for (Layer& layer : layers) {
    if (!layer.source_key.defined()) continue;
    layer.source_key = layer.source_key.index_select(0, inputs);
    layer.source_value = layer.source_value.index_select(0, inputs);
  }
  if (source_mask.defined()) source_mask = source_mask.index_select(0, inputs);
}

Tensor Decoding::rows_at(const Tensor& table, int64_t steps, int64_t first) const {
  TORCH_CHECK_VALUE(fixed() || first + length <= table.size(0), "decoding: ", length, " tokens; the network has positions for ", table.size(0) - first,
                    " (ask for fewer, or shorten the text)");
  if (!fixed() && !token_mask.defined()) return table.slice(0, first + length - steps, first + length);
  const Tensor newest = fixed() ? position : at::arange(length - steps, length, origin.options());
  const Tensor places = token_mask.defined() ? (token_mask.cumsum(1) - 1).clamp_min(0).index_select(1, newest) : newest;
  return at::embedding(table, places + first);
}

Tensor Decoding::by_distance(const Tensor& table, int64_t steps) const {
  if (fixed()) {
    const Tensor place = at::arange(capacity, position.options());
    return table.index_select(3, (capacity - 1 - position + place).clamp_max(capacity - 1)) + visible;
  }
  if (steps == 1) return table.narrow(3, capacity - length, length);
  const Tensor place = at::arange(length, at::TensorOptions().dtype(at::kLong).device(table.device()));
  const Tensor behind = (place.slice(0, length - steps).unsqueeze(1) - place.unsqueeze(0)).clamp_min(0);  // what stands for later tokens is hidden
  return table.squeeze(2).index_select(2, (capacity - 1 - behind).flatten()).view({1, table.size(1), steps, length});
}

Tensor cached_attention(const Tensor& q, const Tensor& k, const Tensor& v, Decoding& state, size_t index, const Tensor& bias,
                        std::optional<double> scale) {
  namespace d = decoding_detail;
  Decoding::Layer& layer = state.layers.at(index);
  const int64_t rows = q.size(0), steps = q.size(2);
  const double factor = scale.value_or(1.0 / std::sqrt(static_cast<double>(q.size(3))));
  if (state.fixed()) return d::attend_fixed(q, k, v, state, layer, bias, factor);
  const auto plain = [](const Tensor& t) { return t.is_cpu() && t.scalar_type() == at::kFloat; };
  if (steps == 1 && plain(q) && plain(k) && plain(v) && plain(layer.key) && !at::GradMode::is_enabled()) {
    return d::attend_in_place(q, k, v, state, layer, d::bias_with_padding(bias, state, q.options()), factor);
  }
  layer.key.narrow(0, 0, rows).narrow(2, state.length - steps, steps).copy_(k);
  layer.value.narrow(0, 0, rows).narrow(2, state.length - steps, steps).copy_(v);
  Tensor mask = d::hidden_mask(state, steps, q.options());
  if (bias.defined()) mask = mask.defined() ? bias.masked_fill(mask.logical_not(), -INFINITY) : bias;
  return attention(q, d::entries(layer.key, state, rows), d::entries(layer.value, state, rows), mask, 0.0, factor);
}

Tensor source_attention(const Tensor& q, const Decoding& state, size_t index, std::optional<double> scale) {
  const Decoding::Layer& layer = state.layers.at(index);
  const int64_t inputs = layer.source_key.size(0), heads = q.size(1), steps = q.size(2), width = q.size(3);
  const int64_t beams = q.size(0) / inputs;
  const double factor = scale.value_or(1.0 / std::sqrt(static_cast<double>(width)));
  if (decoding_detail::reads_source_in_place(q, layer, state.source_mask)) return decoding_detail::attend_source(q, layer, state.source_mask, factor);
  if (const Tensor y = gpu_attend(q, layer.source_key, layer.source_value, state.source_mask, factor); y.defined()) return y;
  if (beams == 1) return attention(q, layer.source_key, layer.source_value, state.source_mask, 0.0, scale);
  // The beams of one input become further queries to the one copy of its keys.
  const Tensor folded = q.reshape({inputs, beams, heads, steps, width}).transpose(1, 2).reshape({inputs, heads, beams * steps, width});
  const Tensor y = attention(folded, layer.source_key, layer.source_value, state.source_mask, 0.0, scale);
  return y.view({inputs, heads, beams, steps, width}).transpose(1, 2).reshape(q.sizes());
}

}  // namespace zoo
