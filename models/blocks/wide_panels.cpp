#include "models/blocks/wide_panels.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

#if defined(__x86_64__)
#include "models/blocks/wide_amx.h"

namespace zoo {
namespace wide_detail {

// All rows of a product: [rows, steps] dense, or the patches of pictures, whose steps lie in segments.
struct AllRows {
  const uint32_t* steps;
  int64_t stride;
  const float *scales, *zeros;
  int64_t line = 0, lines = 0, line_stride = 0, picture_stride = 0;  // rows of a line and lines of a picture, and how far apart those begin; no line: one after the other
  int64_t segment = 0, segment_stride = 0;                           // steps of a segment, and how far apart those begin

  const uint32_t* start(int64_t row) const {
    return steps + (line == 0 ? row * stride : row / line / lines * picture_stride + row / line % lines * line_stride + row % line * stride);
  }
  // How far from its start a row's step k lies.
  int64_t offset(int64_t k) const { return segment == 0 ? k : k / segment * segment_stride + k % segment; }
};

// A whole weight, the rows that it multiplies, and what follows.
struct Work {
  const AllRows& rows;
  int64_t steps, block, out;
  const uint8_t* panels;
  const float *bias, *scales, *sums;  // of the weight's outputs and of what fills its last panel; bias may be null
  Pointwise after;
  Numbers residual;     // may be null
  bool residual_first;  // after(... + residual), not after(...) + residual
  void* y;
  bool half;            // y is bfloat16
};

// x Phi(x), within 1e-4: what bfloat16 shows nothing of, in half the time. Phi is one half and an odd polynomial fitted to |x| < 4.2, beyond that 0 or 1.
ZOO_INLINE512 void rough_gelu(lanes::Lanes& x) {
  using lanes::Lanes;
  const Lanes inside = x < -4.2F ? Lanes{} - 4.2F : x > 4.2F ? Lanes{} + 4.2F : x, t = inside * inside;
  const Lanes p = 3.98465896e-01F + t * (-6.55282290e-02F + t * (9.29824175e-03F + t * (-9.50660422e-04F + t * (6.68910719e-05F + t * (-3.03795839e-06F + t * (7.94143840e-08F + t * -9.01767960e-10F))))));
  x *= 0.5F + inside * p;
}

// Sums of a group of rows that could not be finished in registers.
struct Unfinished {
  const float* sums;
  int64_t stride, rows, count;  // count: numbers of a row
  Numbers residual;
  bool residual_first;
  void* y;
  int64_t y_stride;
  bool half;
};

template <Pointwise after>
struct Finish {
  ZOO_AVX512 static void row(const Unfinished& u) {
    for (int64_t r = 0; r < u.rows; ++r) {
      for (int64_t i = 0; i < u.count; i += 16) {
        const __mmask16 inside = up_to(u.count - i);
        const __m512 more = u.residual.data ? sixteen(u.residual, r, i, inside) : _mm512_setzero_ps();
        lanes::Lanes x = _mm512_maskz_loadu_ps(inside, u.sums + r * u.stride + i);
        if (u.residual_first) x += more;
        if (u.half && after == Pointwise::gelu) rough_gelu(x);
        else activate<BySixteens, after>(x);
        if (!u.residual_first) x += more;
        if (u.half) {
          const __m256bh rounded = _mm512_cvtneps_pbh(x);
          _mm256_mask_storeu_epi16(static_cast<uint16_t*>(u.y) + r * u.y_stride + i, inside, (__m256i)rounded);
        } else {
          _mm512_mask_storeu_ps(static_cast<float*>(u.y) + r * u.y_stride + i, inside, x);
        }
      }
    }
  }
};

// The groups of a tile's rows; none reaches over the end of a line.
struct Groups {
  struct Span {
    int64_t row, count;
    const uint32_t* start;
  };
  Span spans[kMostRows];
  int64_t count = 0;

  Groups(const AllRows& all, int64_t from, int64_t rows, int64_t most) {
    for (int64_t row = from; row < from + rows;) {
      const int64_t end = all.line == 0 ? from + rows : std::min(from + rows, (row / all.line + 1) * all.line);
      in_groups(end - row, most, [&](int64_t first, int64_t some, int64_t, int64_t) { spans[count++] = {row + first, some, all.start(row + first)}; });
      row = end;
    }
  }
};

int64_t bytes_of(bool half) { return half ? sizeof(uint16_t) : sizeof(float); }

// Asks memory for a group's rows, which nobody has read yet.
inline void ask_for(const Groups::Span& rows, int64_t offset, int64_t stride, int64_t steps) {
  constexpr int64_t kLine = 16;  // steps of a cache line
  for (int64_t r = 0; r < rows.count; ++r) {
    for (int64_t i = 0; i < steps; i += kLine) __builtin_prefetch(rows.start + offset + r * stride + i, 0, 2);
  }
}

template <class Type>
void tile(const Work& w, int64_t m, int64_t rows, int64_t n, int64_t columns) {
  const int64_t out = w.out, padded = divide_up(out, kWidePanel) * kWidePanel, whole = columns / kWidePanel * kWidePanel;
  const auto finish = finish_by<Finish>(w.after);
  const bool simple = w.after == Pointwise::none || (w.after == Pointwise::relu && (w.residual_first || !w.residual.data));  // enough of registers
  GroupProducts<Type> product;
  const Groups groups(w.rows, m, rows, product.size().group);
  alignas(64) float room[kMostRows * kTile.columns];  // sums of what is not written as it is: halves, and the last panel where it is not full
  for (int64_t k = 0; k < w.steps; k += w.block) {
    const int64_t steps = std::min(w.block, w.steps - k), later = std::min(w.block, w.steps - k - steps);
    const uint8_t* const level = w.panels + k * padded * 4;
    const int64_t offset = w.rows.offset(k), ahead = divide_up(kBytes, groups.count);
    for (int64_t column = 0; column < columns; column += kWidePanel) {
      const bool full = column < whole, in_room = w.half || !full;
      const int64_t at = n + column, count = std::min(kWidePanel, columns - column);
      const uint8_t* const weight = level + at * steps * 4;
      const uint8_t* const next = column + kWidePanel < columns ? weight + steps * kBytes : later > 0 ? level + padded * steps * 4 + n * later * 4 : nullptr;
      const auto of = [](const float* all, int64_t i) { return all ? all + i : nullptr; };
      Block block = {weight, steps, w.bias ? w.bias + at : kNoBias, of(w.scales, at), of(w.sums, at), nullptr, ahead};
      for (int64_t g = 0; g < groups.count; ++g) {
        const auto [row, some, start] = groups.spans[g];
        const Rows x = {start + offset, w.rows.stride, of(w.rows.scales, row), of(w.rows.zeros, row)};
        if (next) block.next = next + g * steps * kBytes / groups.count;
        if (n + column == 0 && g + 1 < groups.count) ask_for(groups.spans[g + 1], offset, w.rows.stride, steps);
        const int64_t place = row * out + at;
        void* const y = static_cast<uint8_t*>(w.y) + place * bytes_of(w.half);
        Numbers residual = w.residual;
        if (residual.data) residual.data = static_cast<const uint8_t*>(residual.data) + place * bytes_of(residual.half);
        float* const sums = in_room ? room + (row - m) * kTile.columns + column : static_cast<float*>(y);
        const int64_t stride = in_room ? kTile.columns : out;
        End end;
        if (simple && full) end = {residual, w.after == Pointwise::relu ? 0.0F : -INFINITY, w.half ? static_cast<uint16_t*>(y) : nullptr, out};
        product(x, some, block, sums, stride, k == 0, later <= 0 ? &end : nullptr);
        if (later <= 0 && !(simple && full)) finish({sums, stride, some, count, residual, w.residual_first, y, out, w.half});
      }
    }
  }
}

// ---- rows ----

// x [count] -> codes from 0 to 255, and the scale and zero with x = scale * (code - zero). What is not finite makes the scale no number.
ZOO_AVX512 void to_codes(const float* x, int64_t count, uint8_t* to, float* scale, float* zero) {
  __m512 low = _mm512_setzero_ps(), high = low, trouble = low;
  int64_t i = 0;
  for (; i < count; i += 16) {
    const __mmask16 inside = up_to(count - i);
    const __m512 v = _mm512_maskz_loadu_ps(inside, x + i);
    low = _mm512_min_ps(low, v);
    high = _mm512_max_ps(high, v);
    trouble = _mm512_add_ps(trouble, _mm512_sub_ps(v, v));  // 0, or no number
  }
  const float least = _mm512_reduce_min_ps(low), most = _mm512_reduce_max_ps(high);
  const bool finite = _mm512_reduce_add_ps(trouble) == 0.0F;
  const float step = std::max(most / 255.0F - least / 255.0F, 1e-30F);
  *scale = finite ? step : std::numeric_limits<float>::quiet_NaN();
  *zero = finite ? std::nearbyint(-least / step) : 0.0F;
  const __m512 times = _mm512_set1_ps(1.0F / step), plus = _mm512_set1_ps(*zero);
  for (i = 0; i < count; i += 16) {
    const __mmask16 inside = up_to(count - i);
    const __m512i code = _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_maskz_loadu_ps(inside, x + i), times, plus));
    _mm512_mask_cvtusepi32_storeu_epi8(to + i, inside, _mm512_max_epi32(code, _mm512_setzero_si512()));
  }
}

ZOO_AVX512 void from_bfloat16(const uint16_t* x, int64_t count, float* to) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 inside = up_to(count - i);
    _mm512_mask_storeu_ps(to + i, inside, sixteen({x, 0, true}, 0, i, inside));
  }
}

// All rows of a product as steps; memory for them where they are not what they were.
struct Converted {
  std::unique_ptr<uint32_t[]> steps;
  std::unique_ptr<float[]> scales, zeros;
  AllRows rows;
};

size_t room(int64_t count) { return static_cast<size_t>(count); }

template <class Type>
Converted converted(const void* x, bool half, int64_t rows, int64_t in) {
  const int64_t steps = divide_up(in, Type::kInputs);
  Converted all;
  if (std::is_same_v<Type, Float32> || (half && std::is_same_v<Type, BFloat16>)) {
    all.rows = {static_cast<const uint32_t*>(x), steps, nullptr, nullptr};
    return all;
  }
  all.steps.reset(new uint32_t[room(rows * steps)]);
  all.scales.reset(new float[room(rows)]);
  all.zeros.reset(new float[room(rows)]);
  at::parallel_for(0, rows, std::max<int64_t>(1, (1 << 15) / in), [&](int64_t begin, int64_t end) {
    std::vector<float> wide(room(half ? in : 0));
    for (int64_t row = begin; row < end; ++row) {
      if (half) from_bfloat16(static_cast<const uint16_t*>(x) + row * in, in, wide.data());
      const float* const from = half ? wide.data() : static_cast<const float*>(x) + row * in;
      uint32_t* const to = all.steps.get() + row * steps;
      to[steps - 1] = 0;  // what the last step holds beyond the row
      if constexpr (std::is_same_v<Type, BFloat16>) to_bfloat16(from, in, reinterpret_cast<uint16_t*>(to));
      else to_codes(from, in, reinterpret_cast<uint8_t*>(to), &all.scales[room(row)], &all.zeros[room(row)]);
    }
  });
  all.rows = {all.steps.get(), steps, all.scales.get(), all.zeros.get()};
  return all;
}

// Pictures with their zeros, as steps. Channels are a multiple of the inputs of a step. No copy of what needs neither zeros nor rounding.
template <class Type>
Converted converted(const WidePanels::Pictures& p) {
  const int64_t pad = p.kernel / 2, channels = p.channels / Type::kInputs, wide = p.width + 2 * pad, high = p.height + 2 * pad, line = wide * channels;
  Converted all;
  const bool copies = pad > 0 || (std::is_same_v<Type, BFloat16> && !p.half);
  if (copies) all.steps.reset(new uint32_t[room(p.count * high * line)]);
  at::parallel_for(0, copies ? p.count * high : 0, std::max<int64_t>(1, (1 << 14) / line), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      uint32_t* const to = all.steps.get() + i * line;
      const int64_t y = i % high - pad;
      const bool inside = y >= 0 && y < p.height;
      std::fill_n(to, inside ? pad * channels : line, 0);
      if (!inside) continue;
      std::fill_n(to + (pad + p.width) * channels, pad * channels, 0);
      const int64_t count = p.width * p.channels, first = (i / high * p.height + y) * count;
      const void* const from = static_cast<const uint8_t*>(p.data) + first * bytes_of(p.half);
      if (std::is_same_v<Type, BFloat16> && !p.half) to_bfloat16(static_cast<const float*>(from), count, reinterpret_cast<uint16_t*>(to + pad * channels));
      else std::memcpy(to + pad * channels, from, room(count * bytes_of(p.half)));
    }
  });
  all.rows = {copies ? all.steps.get() : static_cast<const uint32_t*>(p.data), p.stride * channels, nullptr, nullptr};
  if (p.kernel == 1 && p.stride == 1) return all;  // dense rows
  all.rows.line = divide_up(p.width, p.stride), all.rows.lines = divide_up(p.height, p.stride);
  all.rows.line_stride = p.stride * line, all.rows.picture_stride = high * line;
  all.rows.segment = p.kernel * channels, all.rows.segment_stride = line;
  return all;
}

// The bias with zeros up to a whole panel.
std::unique_ptr<float[]> padded_bias(const float* bias, int64_t out) {
  std::unique_ptr<float[]> all(new float[room(divide_up(out, kWidePanel) * kWidePanel)]());
  std::copy_n(bias, out, all.get());
  return all;
}

// Tiles of all works, side by side as if their outputs were those of one weight.
template <class Type>
void multiply(std::vector<Work>& works, int64_t rows, int64_t in) {
  std::vector<std::unique_ptr<float[]>> biases;
  std::vector<int64_t> ends;
  for (Work& work : works) {
    if (work.bias && work.out % kWidePanel != 0) work.bias = biases.emplace_back(padded_bias(work.bias, work.out)).get();
    ends.push_back((ends.empty() ? 0 : ends.back()) + divide_up(work.out, kTile.columns) * kTile.columns);
  }
  over_tiles(rows, in, ends.back(), GroupProducts<Type>::size(), [&](int64_t m, int64_t some, int64_t n, int64_t columns) {
    const auto which = static_cast<size_t>(std::upper_bound(ends.begin(), ends.end(), n) - ends.begin());
    const Work& work = works[which];
    const int64_t first = which == 0 ? n : n - ends[which - 1];
    tile<Type>(work, m, some, first, std::min(columns, work.out - first));
  });
}

// ---- laying out ----

struct Weight {
  const float* data;
  int64_t out, in, out_stride, in_stride;
  float at(int64_t o, int64_t i) const { return data[o * out_stride + i * in_stride]; }
};

// Calls work(panel, first step, steps, where they lie) for every panel's blocks, panels side by side.
template <class Each>
void over_blocks(int64_t out, int64_t steps, int64_t block, void* memory, const Each& each) {
  const int64_t count = divide_up(out, kWidePanel), padded = count * kWidePanel;
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      for (int64_t k = 0; k < steps; k += block) {
        const int64_t some = std::min(block, steps - k);
        each(panel, k, some, static_cast<uint8_t*>(memory) + (k * padded + panel * kWidePanel * some) * 4);
      }
    }
  });
}

void lay_out_floats(const Weight& w, int64_t block, void* memory) {
  over_blocks(w.out, w.in, block, memory, [&](int64_t panel, int64_t k, int64_t steps, uint8_t* bytes) {
    float* const to = reinterpret_cast<float*>(bytes);
    const int64_t first = panel * kWidePanel, filled = std::min(kWidePanel, w.out - first);
    const float* const from = w.data + first * w.out_stride + k * w.in_stride;
    if (filled < kWidePanel) std::memset(bytes, 0, static_cast<size_t>(steps * kBytes));
    if (w.in_stride == 1) return transpose_block(from, filled, steps, w.out_stride, to, kWidePanel);
    for (int64_t i = 0; i < steps; ++i) {
      if (w.out_stride == 1) std::copy_n(from + i * w.in_stride, filled, to + i * kWidePanel);
      else for (int64_t o = 0; o < filled; ++o) to[i * kWidePanel + o] = from[o * w.out_stride + i * w.in_stride];
    }
  });
}

// fill(output, first input, values, count, where to) makes the steps of some inputs of one output.
template <class Type, class Fill>
void lay_out_steps(const Weight& w, int64_t block, void* memory, const Fill& fill) {
  over_blocks(w.out, divide_up(w.in, Type::kInputs), block, memory, [&](int64_t panel, int64_t k, int64_t steps, uint8_t* bytes) {
    const int64_t first = panel * kWidePanel, filled = std::min(kWidePanel, w.out - first), input = k * Type::kInputs, inputs = std::min(steps * Type::kInputs, w.in - input);
    uint32_t rows[kWidePanel * kSteps];
    float gathered[kSteps * Type::kInputs];
    for (int64_t o = 0; o < filled; ++o) {
      const float* from = w.data + (first + o) * w.out_stride + input * w.in_stride;
      for (int64_t i = 0; w.in_stride != 1 && i < inputs; ++i) gathered[i] = from[i * w.in_stride];
      uint32_t* const to = rows + o * steps;
      to[steps - 1] = 0;  // what the last step holds beyond the weight
      fill(first + o, w.in_stride == 1 ? from : gathered, inputs, to);
    }
    if (filled < kWidePanel) std::memset(bytes, 0, static_cast<size_t>(steps * kBytes));
    transpose_block(reinterpret_cast<const float*>(rows), filled, steps, steps, reinterpret_cast<float*>(bytes), kWidePanel);  // moves bits only
  });
}

// The largest of the values' sizes as 127; no number if one is not finite.
ZOO_AVX512 float scale_of(const float* values, int64_t count) {
  __m512 largest = _mm512_setzero_ps(), trouble = largest;
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 inside = up_to(count - i);
    const __m512 v = _mm512_maskz_loadu_ps(inside, values + i);
    largest = _mm512_max_ps(largest, _mm512_abs_ps(v));
    trouble = _mm512_add_ps(trouble, _mm512_sub_ps(v, v));
  }
  return _mm512_reduce_add_ps(trouble) == 0.0F ? _mm512_reduce_max_ps(largest) / 127.0F : std::numeric_limits<float>::quiet_NaN();
}

void find_scales(const Weight& w, float* scales) {
  at::parallel_for(0, w.out, 16, [&](int64_t begin, int64_t end) {
    std::vector<float> gathered(static_cast<size_t>(w.in_stride == 1 ? 0 : w.in));
    for (int64_t o = begin; o < end; ++o) {
      for (size_t i = 0; i < gathered.size(); ++i) gathered[i] = w.at(o, static_cast<int64_t>(i));
      scales[o] = scale_of(gathered.empty() ? w.data + o * w.out_stride : gathered.data(), w.in);
    }
  });
}

// values [count] -> codes from -127 to 127; returns their sum, which is exact: 127 kMostInputs < 2^24.
ZOO_AVX512 float weight_codes(const float* values, int64_t count, float scale, int8_t* to) {
  if (!(scale > 0)) {
    std::memset(to, 0, static_cast<size_t>(count));
    return 0;
  }
  __m512i sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 inside = up_to(count - i);
    const __m512i code = _mm512_cvtps_epi32(_mm512_div_ps(_mm512_maskz_loadu_ps(inside, values + i), _mm512_set1_ps(scale)));
    sum = _mm512_add_epi32(sum, code);
    _mm512_mask_cvtsepi32_storeu_epi8(to + i, inside, code);
  }
  return static_cast<float>(_mm512_reduce_add_epi32(sum));
}

// Codes in their places; `sums` [out], zeros before, become the scales times the sums of the codes, which the rows' zeros take away.
void lay_out_codes(const Weight& w, const float* scales, float* sums, void* memory) {
  lay_out_steps<Int8>(w, kSteps, memory, [&](int64_t o, const float* values, int64_t count, uint32_t* to) {
    sums[o] += weight_codes(values, count, scales[o], reinterpret_cast<int8_t*>(to));  // an output is one thread's
  });
  for (int64_t o = 0; o < w.out; ++o) sums[o] *= scales[o];
}

}  // namespace wide_detail

bool WidePanels::possible(PanelType type) {
  if (!Panels::possible() || !__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq")) return false;
  if (type == PanelType::bfloat16) return __builtin_cpu_supports("avx512bf16");
  return type == PanelType::float32 || (type == PanelType::int8 && __builtin_cpu_supports("avx512vnni"));
}

bool WidePanels::by_tiles(PanelType type) { return possible(type) && type != PanelType::float32 && wide_detail::tiles_granted(); }

void WidePanels::Free::operator()(void* memory) const { std::free(memory); }

namespace wide_detail {

int64_t inputs_of_step(PanelType type) { return type == PanelType::float32 ? Float32::kInputs : type == PanelType::bfloat16 ? BFloat16::kInputs : Int8::kInputs; }

// Steps of a block: the most of which a segment has a whole number, where rows do not lie together; 0: none that is worth it.
int64_t block_for(int64_t steps, int64_t segment_steps) {
  constexpr int64_t kLeast = 48;
  if (segment_steps == steps) return kSteps;
  for (int64_t parts = divide_up(segment_steps, kSteps); segment_steps / parts >= kLeast; ++parts) {
    if (segment_steps % parts == 0) return segment_steps / parts;
  }
  return 0;
}

}  // namespace wide_detail

bool WidePanels::takes_patches(PanelType type, int64_t in, int64_t segment) {
  const int64_t together = wide_detail::inputs_of_step(type);
  return type != PanelType::int8 && segment % together == 0 && wide_detail::block_for(wide_detail::divide_up(in, together), segment / together) > 0;  // codes would need one scale for a whole picture
}

WidePanels::WidePanels(const float* weight, int64_t out, int64_t in, int64_t out_stride, int64_t in_stride, PanelType type, int64_t segment) : out_(out), in_(in), type_(type) {
  namespace d = wide_detail;
  if (!possible(type) || (type == PanelType::int8 && in > kMostInputs)) throw std::logic_error("WidePanels: not for this type on this processor");
  const d::Weight w = {weight, out, in, out_stride, in_stride};
  const int64_t together = d::inputs_of_step(type), padded = d::divide_up(out, d::kWidePanel) * d::kWidePanel;
  const int64_t steps = d::divide_up(in, together);
  block_ = d::block_for(steps, segment == 0 ? steps : segment / together);
  memory_.reset(d::allocate(static_cast<size_t>(padded * steps * 4)));
  if (type == PanelType::float32) d::lay_out_floats(w, block_, memory_.get());
  if (type == PanelType::bfloat16) d::lay_out_steps<d::BFloat16>(w, block_, memory_.get(), [](int64_t, const float* values, int64_t count, uint32_t* to) { d::to_bfloat16(values, count, reinterpret_cast<uint16_t*>(to)); });
  if (type != PanelType::int8) return;
  scales_.reset(new float[static_cast<size_t>(padded)]());
  sums_.reset(new float[static_cast<size_t>(padded)]());
  d::find_scales(w, scales_.get());
  d::lay_out_codes(w, scales_.get(), sums_.get(), memory_.get());
}

namespace wide_detail {

// Calls the work of the type of the panels, with a value of it.
template <class Do>
void by_type(PanelType type, const Do& work) {
  if (type == PanelType::float32) work(Float32());
  else if (type == PanelType::bfloat16) work(BFloat16());
  else work(Int8());
}

}  // namespace wide_detail

void WidePanels::multiply(const void* x, bool half, int64_t rows, const Share* shares, size_t count) {
  namespace d = wide_detail;
  const int64_t in = shares[0].weight->in_;
  d::by_type(shares[0].weight->type_, [&](auto type) {
    using Type = decltype(type);
    const d::Converted all = d::converted<Type>(x, half, rows, in);
    std::vector<d::Work> works;
    for (const Share* share = shares; share < shares + count; ++share) {
      const WidePanels& w = *share->weight;
      works.push_back({all.rows, d::divide_up(in, Type::kInputs), w.block_, w.out_, static_cast<const uint8_t*>(w.memory_.get()), share->bias, w.scales_.get(), w.sums_.get(),
                       share->after, {share->residual, w.out_, false}, /*residual_first=*/false, share->y, share->half});
    }
    d::multiply<Type>(works, rows, in);
  });
}

void WidePanels::multiply(const float* x, int64_t rows, const float* bias, Pointwise after, const float* residual, float* y) const {
  const Share all = {this, bias, after, residual, y, false};
  multiply(x, false, rows, &all, 1);
}

void WidePanels::multiply_here(const void* x, int64_t rows, float* y) const {
  namespace d = wide_detail;
  d::by_type(type_, [&](auto type) {
    using Type = decltype(type);
    const int64_t steps = in_ / Type::kInputs;
    const d::AllRows all = {static_cast<const uint32_t*>(x), steps, nullptr, nullptr};
    const d::Work work = {all, steps, block_, out_, static_cast<const uint8_t*>(memory_.get()), nullptr, nullptr, nullptr, Pointwise::none, {}, /*residual_first=*/false, y, false};
    for (int64_t m = 0; m < rows; m += d::kTile.rows) {
      for (int64_t n = 0; n < out_; n += d::kTile.columns) d::tile<Type>(work, m, std::min(d::kTile.rows, rows - m), n, std::min(d::kTile.columns, out_ - n));
    }
  });
}

void WidePanels::multiply_patches(const Pictures& x, const float* bias, Pointwise after, const void* residual, void* y, bool half) const {
  namespace d = wide_detail;
  d::by_type(type_, [&](auto type) {
    using Type = decltype(type);
    const d::Converted all = d::converted<Type>(x);
    std::vector<d::Work> works = {{all.rows, in_ / Type::kInputs, block_, out_, static_cast<const uint8_t*>(memory_.get()), bias, nullptr, nullptr, after, {residual, out_, half}, /*residual_first=*/true, y, half}};
    d::multiply<Type>(works, x.count * d::divide_up(x.height, x.stride) * d::divide_up(x.width, x.stride), in_);
  });
}

}  // namespace zoo

#else  // another processor: never possible, never called

namespace zoo {
bool WidePanels::possible(PanelType) { return false; }
bool WidePanels::by_tiles(PanelType) { return false; }
void WidePanels::Free::operator()(void* memory) const { std::free(memory); }
WidePanels::WidePanels(const float*, int64_t out, int64_t in, int64_t, int64_t, PanelType type, int64_t) : out_(out), in_(in), type_(type), block_(0) {
  throw std::logic_error("WidePanels need an x86-64 processor with AVX-512");
}
void WidePanels::multiply(const void*, bool, int64_t, const Share*, size_t) {}
void WidePanels::multiply(const float*, int64_t, const float*, Pointwise, const float*, float*) const {}
void WidePanels::multiply_here(const void*, int64_t, float*) const {}
void WidePanels::multiply_patches(const Pictures&, const float*, Pointwise, const void*, void*, bool) const {}
bool WidePanels::takes_patches(PanelType, int64_t, int64_t) { return false; }
}  // namespace zoo

#endif
