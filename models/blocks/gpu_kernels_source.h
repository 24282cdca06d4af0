// The kernels of gpu_rows.cpp and gpu_training.cpp in CUDA C++, compiled at run time for one element type (TYPE 0: float32, 1: bfloat16, 2: float16).
// Sums are float32 in an order that depends neither on the number of rows nor on the values.
#pragma once

namespace zoo::gpu_kernels {

constexpr const char* kSource = R"cuda(
#define INFINITY __int_as_float(0x7f800000)
#if TYPE == 0
typedef float T;
constexpr int kVector = 4;  // elements of 16 bytes
__device__ float widen(T x) { return x; }
__device__ T narrow(float x) { return x; }
__device__ void unpack(uint4 v, float* x) {
  x[0] = __uint_as_float(v.x); x[1] = __uint_as_float(v.y); x[2] = __uint_as_float(v.z); x[3] = __uint_as_float(v.w);
}
#else
typedef unsigned short T;
constexpr int kVector = 8;
#if TYPE == 1
__device__ float widen(T x) { return __uint_as_float(static_cast<unsigned>(x) << 16); }
__device__ T narrow(float x) {  // to the nearest, ties to even; NaN stays NaN
#if __CUDA_ARCH__ >= 800
  T y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
#endif
  const unsigned bits = __float_as_uint(x);
  return x != x ? 0x7fc0 : static_cast<T>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
#else
__device__ float widen(T x) { float y; asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x)); return y; }
__device__ T narrow(float x) { T y; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x)); return y; }
#endif
__device__ void unpack(uint4 v, float* x) {
  const unsigned words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    x[2 * i] = widen(static_cast<T>(words[i] & 0xffff));
    x[2 * i + 1] = widen(static_cast<T>(words[i] >> 16));
  }
}
#endif
__device__ uint4 pack(const float* x) {
#if TYPE == 0
  return make_uint4(__float_as_uint(x[0]), __float_as_uint(x[1]), __float_as_uint(x[2]), __float_as_uint(x[3]));
#elif TYPE == 1 && __CUDA_ARCH__ >= 800
  const auto two = [&](int i) {
    unsigned y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(x[i + 1]), "f"(x[i]));
    return y;
  };
  return make_uint4(two(0), two(2), two(4), two(6));
#else
  const auto two = [&](int i) { return static_cast<unsigned>(narrow(x[i])) | static_cast<unsigned>(narrow(x[i + 1])) << 16; };
  return make_uint4(two(0), two(2), two(4), two(6));
#endif
}

constexpr int kWarps = 8, kThreads = 32 * kWarps;

__device__ float activated(float x, int after) {
  switch (after) {
    case 1: return fmaxf(x, 0.0f);
    case 2: return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    case 3: return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
    case 4: return x / (1.0f + expf(-1.702f * x));
    case 5: return x / (1.0f + expf(-x));
    case 6: return tanhf(x);
  }
  return x;
}

// Where the processor can (sm_90), a kernel begins while the one before it on the stream still runs, and reads what no kernel writes, the weights;
// wait_for_others() holds until all before it are done.
__device__ void let_next_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
__device__ void wait_for_others() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// The largest or the sum over the block's threads.
__device__ float of_all(float x, bool largest) {
  __shared__ float of_warps[kWarps];
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const float other = __shfl_xor_sync(0xffffffff, x, step);
    x = largest ? fmaxf(x, other) : x + other;
  }
  __syncthreads();  // the last result has been read
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = x;
  __syncthreads();
  float y = of_warps[0];
  for (int i = 1; i < kWarps; ++i) y = largest ? fmaxf(y, of_warps[i]) : y + of_warps[i];
  return y;
}

#ifdef ROWS
struct Products {  // of one input with up to three weights of one shape
  const T *weight[3], *bias[3];
  T* y[3];
};

// y [ROWS, out] = after(x [ROWS, in] W^T + bias) + residual. `share` warps together make one output of every row; blockIdx.y is the weight.
extern "C" __global__ void __launch_bounds__(kThreads) linear(const T* x, const __grid_constant__ Products p, const T* residual, int in, int out, int share, int after) {
  constexpr int kAhead = 4;  // parts of a weight that are asked for together
  let_next_begin();
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, part = warp % share;
  const int o = blockIdx.x * (kWarps / share) + warp / share;
  const int vectors = o < out ? in / kVector : 0, stride = share * 32;
  const uint4* weight = reinterpret_cast<const uint4*>(p.weight[blockIdx.y] + static_cast<long long>(o) * in);
  const bool writes = o < out && part == 0 && lane < ROWS;  // this lane's row of the output
  const long long place = static_cast<long long>(lane) * out + o;
  uint4 w[kAhead];
  int first = part * 32 + lane;
#pragma unroll
  for (int a = 0; a < kAhead; ++a) {
    if (first + a * stride < vectors) w[a] = __ldg(weight + first + a * stride);
  }
  const T* bias = p.bias[blockIdx.y];
  const float offset = bias && writes ? widen(bias[o]) : 0.0f;
  wait_for_others();
  const float added = residual && writes ? widen(residual[place]) : 0.0f;
  float sum[ROWS] = {};
  while (first < vectors) {
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const int i = first + a * stride;
      if (i >= vectors) break;
      float k[kVector];
      unpack(w[a], k);
#pragma unroll
      for (int row = 0; row < ROWS; ++row) {
        float v[kVector];
        unpack(reinterpret_cast<const uint4*>(x + static_cast<long long>(row) * in)[i], v);
#pragma unroll
        for (int e = 0; e < kVector; ++e) sum[row] += k[e] * v[e];
      }
    }
    first += kAhead * stride;
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      if (first + a * stride < vectors) w[a] = __ldg(weight + first + a * stride);
    }
  }
  __shared__ float parts[kWarps][ROWS];
#pragma unroll
  for (int row = 0; row < ROWS; ++row) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) sum[row] += __shfl_xor_sync(0xffffffff, sum[row], step);
    if (lane == 0) parts[warp][row] = sum[row];
  }
  __syncthreads();
  if (!writes) return;
  float y = offset;
  for (int i = 0; i < share; ++i) y += parts[warp + i][lane];
  p.y[blockIdx.y][place] = narrow(activated(y, after) + added);
}
#endif

#ifdef NORM
// y = x / sqrt(mean x^2 + eps) * weight, a block for a row of `width` numbers.
extern "C" __global__ void __launch_bounds__(kThreads) rms_norm(const T* x, const T* weight, T* y, int width, float eps) {
  constexpr int kHeld = 2;  // parts of the weight that a thread keeps in registers
  let_next_begin();
  const uint4* gains = reinterpret_cast<const uint4*>(weight);
  const int vectors = width / kVector;
  uint4 held[kHeld];
#pragma unroll
  for (int a = 0; a < kHeld; ++a) {
    if (threadIdx.x + a * kThreads < vectors) held[a] = __ldg(gains + threadIdx.x + a * kThreads);
  }
  wait_for_others();
  const uint4* row = reinterpret_cast<const uint4*>(x + static_cast<long long>(blockIdx.x) * width);
  float sum = 0.0f;
  for (int i = threadIdx.x; i < vectors; i += kThreads) {
    float v[kVector];
    unpack(row[i], v);
#pragma unroll
    for (int e = 0; e < kVector; ++e) sum += v[e] * v[e];
  }
  const float factor = rsqrtf(of_all(sum, false) / width + eps);
  int a = 0;
  for (int i = threadIdx.x; i < vectors; i += kThreads, ++a) {
    float v[kVector], gain[kVector];
    unpack(row[i], v);
    unpack(a == 0 ? held[0] : a == 1 ? held[1] : __ldg(gains + i), gain);
    T* to = y + static_cast<long long>(blockIdx.x) * width + i * kVector;
#pragma unroll
    for (int e = 0; e < kVector; ++e) to[e] = narrow(v[e] * factor * gain[e]);
  }
}
#endif

#ifdef LAYER
__device__ float of_warp(float x) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffff, x, step);
  return x;
}

// y = (s - mean) / sqrt(variance + eps) * weight + bias for s = x + residual; a warp for a row, which it keeps in registers: LAYER vectors a lane.
extern "C" __global__ void __launch_bounds__(kThreads)
layer_norm(const T* x, const T* residual, const T* weight, const T* bias, T* sum, T* y, long long rows, int width, float eps) {
  let_next_begin();
  wait_for_others();
  const int lane = threadIdx.x % 32, vectors = width / kVector;
  const long long row = static_cast<long long>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  const auto at = [&](const T* from, long long of_row) { return reinterpret_cast<const uint4*>(from + of_row * width) + lane; };
  uint4 own[LAYER], other[LAYER];
#pragma unroll
  for (int a = 0; a < LAYER; ++a) own[a] = lane + a * 32 < vectors ? at(x, row)[a * 32] : make_uint4(0, 0, 0, 0);
  if (residual) {
#pragma unroll
    for (int a = 0; a < LAYER; ++a) other[a] = lane + a * 32 < vectors ? at(residual, row)[a * 32] : make_uint4(0, 0, 0, 0);
#pragma unroll
    for (int a = 0; a < LAYER; ++a) {
      float v[kVector], w[kVector];
      unpack(own[a], v);
      unpack(other[a], w);
#pragma unroll
      for (int e = 0; e < kVector; ++e) v[e] += w[e];
      own[a] = pack(v);  // the norm is that of the rounded sum, which goes on to the next layer
      if (sum && lane + a * 32 < vectors) const_cast<uint4*>(at(sum, row))[a * 32] = own[a];
    }
  }
  float values[LAYER][kVector], total = 0.0f, squares = 0.0f;
#pragma unroll
  for (int a = 0; a < LAYER; ++a) {
    unpack(own[a], values[a]);
#pragma unroll
    for (int e = 0; e < kVector; ++e) total += values[a][e];
  }
  const float mean = of_warp(total) / width;
#pragma unroll
  for (int a = 0; a < LAYER; ++a) {
    if (lane + a * 32 >= vectors) break;
#pragma unroll
    for (int e = 0; e < kVector; ++e) squares += (values[a][e] - mean) * (values[a][e] - mean);
  }
  const float factor = rsqrtf(of_warp(squares) / width + eps);
#pragma unroll
  for (int a = 0; a < LAYER; ++a) {
    if (lane + a * 32 >= vectors) break;
    float gain[kVector], offset[kVector];
    unpack(__ldg(at(weight, 0) + a * 32), gain);
    unpack(__ldg(at(bias, 0) + a * 32), offset);
#pragma unroll
    for (int e = 0; e < kVector; ++e) values[a][e] = (values[a][e] - mean) * factor * gain[e] + offset[e];
    const_cast<uint4*>(at(y, row))[a * 32] = pack(values[a]);
  }
}

// The gradients of layer_norm. With normed = (x - mean) factor and g = dy weight: dx = rest + (g - mean g - normed mean(g normed)) factor, and this block's share
// of the weight's and the bias's in partial [2, blocks, width]. `rest`, unless null: what arrives at x beside the norm.
extern "C" __global__ void __launch_bounds__(kThreads, 2)
layer_norm_backward(const T* x, const T* dy, const T* rest, const T* weight, T* dx, float* partial, long long rows, int width, float eps) {
  __shared__ float of_warps[kWarps][LAYER * 32 * kVector];
  let_next_begin();
  wait_for_others();
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, vectors = width / kVector;
  const auto at = [&](const T* from, long long of_row) { return reinterpret_cast<const uint4*>(from + of_row * width) + lane; };
  float to_weight[LAYER][kVector] = {}, to_bias[LAYER][kVector] = {};
  for (long long row = static_cast<long long>(blockIdx.x) * kWarps + warp; row < rows; row += static_cast<long long>(gridDim.x) * kWarps) {
    uint4 own[LAYER], change[LAYER], other[LAYER];
#pragma unroll
    for (int a = 0; a < LAYER; ++a) {
      const bool inside = lane + a * 32 < vectors;
      own[a] = inside ? at(x, row)[a * 32] : make_uint4(0, 0, 0, 0);
      change[a] = inside ? at(dy, row)[a * 32] : make_uint4(0, 0, 0, 0);
      other[a] = inside && rest ? at(rest, row)[a * 32] : make_uint4(0, 0, 0, 0);
    }
    float v[LAYER][kVector], g[LAYER][kVector], total = 0.0f, squares = 0.0f;
#pragma unroll
    for (int a = 0; a < LAYER; ++a) {
      unpack(own[a], v[a]);
#pragma unroll
      for (int e = 0; e < kVector; ++e) total += v[a][e];
    }
    const float mean = of_warp(total) / width;
#pragma unroll
    for (int a = 0; a < LAYER; ++a) {
      if (lane + a * 32 >= vectors) break;
#pragma unroll
      for (int e = 0; e < kVector; ++e) squares += (v[a][e] - mean) * (v[a][e] - mean);
    }
    const float factor = rsqrtf(of_warp(squares) / width + eps);
    float sum = 0.0f, along = 0.0f;
#pragma unroll
    for (int a = 0; a < LAYER; ++a) {
      if (lane + a * 32 >= vectors) break;
      float gain[kVector];
      unpack(__ldg(at(weight, 0) + a * 32), gain);
      unpack(change[a], g[a]);
#pragma unroll
      for (int e = 0; e < kVector; ++e) {
        v[a][e] = (v[a][e] - mean) * factor;
        to_weight[a][e] += g[a][e] * v[a][e];
        to_bias[a][e] += g[a][e];
        g[a][e] *= gain[e];
        sum += g[a][e];
        along += g[a][e] * v[a][e];
      }
    }
    sum = of_warp(sum) / width;
    along = of_warp(along) / width;
#pragma unroll
    for (int a = 0; a < LAYER; ++a) {
      if (lane + a * 32 >= vectors) break;
      float more[kVector];
      unpack(other[a], more);
#pragma unroll
      for (int e = 0; e < kVector; ++e) more[e] += (g[a][e] - sum - v[a][e] * along) * factor;
      const_cast<uint4*>(at(dx, row))[a * 32] = pack(more);
    }
  }
#pragma unroll
  for (int which = 0; which < 2; ++which) {
    __syncthreads();
#pragma unroll
    for (int a = 0; a < LAYER; ++a) {
#pragma unroll
      for (int e = 0; e < kVector; ++e) of_warps[warp][(a * 32 + lane) * kVector + e] = which == 0 ? to_weight[a][e] : to_bias[a][e];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < width; i += kThreads) {
      float y = 0.0f;
      for (int w = 0; w < kWarps; ++w) y += of_warps[w][i];
      partial[(static_cast<long long>(which) * gridDim.x + blockIdx.x) * width + i] = y;
    }
  }
}
#endif

#ifdef SUMS
// The slope of x Phi(x): the normal distribution's share below x (Abramowitz & Stegun, 26.2.17: off by less than 1e-7) plus x times its density.
__device__ float gelu_slope(float x) {
  const float density = 0.39894228f * __expf(-0.5f * x * x), t = __fdividef(1.0f, 1.0f + 0.2316419f * fabsf(x));
  const float beyond = density * t * (0.31938153f + t * (-0.356563782f + t * (1.781477937f + t * (-1.821255978f + t * 1.330274429f))));
  return (x < 0.0f ? beyond : 1.0f - beyond) + x * density;
}

// partial [gridDim.y, width]: sums over a share of the rows of x [rows, width]; a warp reads 32 vectors of a row. SUMS 1: x is the gradient of gelu(before) and
// becomes that of `before`, in `to`; the sums are of what it becomes.
extern "C" __global__ void __launch_bounds__(kThreads, 4) column_sums(const T* x, const T* before, T* to, float* partial, long long rows, int width) {
  constexpr int kAhead = 4;  // rows that a warp asks for together
  __shared__ float of_warps[kWarps][32 * kVector];
  let_next_begin();
  wait_for_others();
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, vectors = width / kVector, vector = blockIdx.x * 32 + lane;
  const long long share = (rows + gridDim.y - 1) / gridDim.y, first = blockIdx.y * share + warp, last = min(rows, (blockIdx.y + 1) * share);
  float sum[kVector] = {};
  for (long long row = first; row < last; row += kAhead * kWarps) {
    uint4 own[kAhead], inner[kAhead];
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const long long place = (row + a * kWarps) * vectors + vector;
      const bool inside = vector < vectors && row + a * kWarps < last;
      own[a] = inside ? reinterpret_cast<const uint4*>(x)[place] : make_uint4(0, 0, 0, 0);
      if (SUMS == 1) inner[a] = inside ? reinterpret_cast<const uint4*>(before)[place] : make_uint4(0, 0, 0, 0);
    }
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      float v[kVector];
      unpack(own[a], v);
      if (SUMS == 1) {
        float h[kVector];
        unpack(inner[a], h);
#pragma unroll
        for (int e = 0; e < kVector; ++e) v[e] *= gelu_slope(h[e]);
        const uint4 rounded = pack(v);
        if (vector < vectors && row + a * kWarps < last) reinterpret_cast<uint4*>(to)[(row + a * kWarps) * vectors + vector] = rounded;
        unpack(rounded, v);
      }
#pragma unroll
      for (int e = 0; e < kVector; ++e) sum[e] += v[e];
    }
  }
#pragma unroll
  for (int e = 0; e < kVector; ++e) of_warps[warp][lane * kVector + e] = sum[e];
  __syncthreads();
  for (int i = threadIdx.x; i < 32 * kVector; i += kThreads) {
    const int column = blockIdx.x * 32 * kVector + i;
    if (column >= width) break;
    float y = 0.0f;
    for (int w = 0; w < kWarps; ++w) y += of_warps[w][i];
    partial[static_cast<long long>(blockIdx.y) * width + column] = y;
  }
}
#endif

#ifdef TOTALS
// y [gridDim.y, width]: the sums of partial [gridDim.y, parts, width] over its parts.
extern "C" __global__ void __launch_bounds__(kThreads) totals(const float* partial, T* y, int parts, int width) {
  __shared__ float of_warps[kWarps][32];
  let_next_begin();
  wait_for_others();
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, column = blockIdx.x * 32 + lane;
  float sum = 0.0f;
  if (column < width) {
#pragma unroll 4
    for (int part = warp; part < parts; part += kWarps) sum += partial[(static_cast<long long>(blockIdx.y) * parts + part) * width + column];
  }
  of_warps[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || column >= width) return;
  sum = 0.0f;
  for (int w = 0; w < kWarps; ++w) sum += of_warps[w][lane];
  y[static_cast<long long>(blockIdx.y) * width + column] = narrow(sum);
}
#endif

#ifdef WIDTH
struct Shape {
  long long query_row, query_head, key_row, key_head, value_row, value_head, mask_row, mask_head, origin_row;  // strides
  int heads, length, beams;
  float scale;
};

// One query: block (head, row). keys and values [N, heads, length, WIDTH]. With a position the newest key and value enter there,
// and nothing beyond is read; without, all `length` of row / beams are. origin: in which row of the cache a position lies.
extern "C" __global__ void __launch_bounds__(kThreads)
attend(const T* query, const T* new_key, const T* new_value, T* keys, T* values, const T* mask, const long long* position, const long long* origin, T* out, Shape s) {
  constexpr int kLanes = WIDTH / kVector, kKeys = kThreads / kLanes, kAhead = kVector == 4 ? 8 : 4;  // lanes of a key, keys at a time, keys that are asked for together
  extern __shared__ float scores[];
  __shared__ float of_warps[kWarps][WIDTH];
  let_next_begin();
  const int head = blockIdx.x, row = blockIdx.y, lane = threadIdx.x % kLanes, own = threadIdx.x / kLanes;
  const long long head_stride = static_cast<long long>(s.length) * WIDTH, row_stride = s.heads * head_stride;
  wait_for_others();
  const int last = position ? static_cast<int>(*position) : s.length - 1;
  // This thread's part of key or value j; the newest comes from where it was computed.
  const auto entry = [&](const T* cache, const T* newest, int j) {
    if (position && j == last) return *reinterpret_cast<const uint4*>(newest + lane * kVector);
    const long long from = origin ? origin[row * s.origin_row + j] : row / s.beams;
    return *reinterpret_cast<const uint4*>(cache + from * row_stride + head * head_stride + static_cast<long long>(j) * WIDTH + lane * kVector);
  };
  const T *own_key = new_key + row * s.key_row + head * s.key_head, *own_value = new_value + row * s.value_row + head * s.value_head;
  uint4 some_keys[kAhead], some_values[kAhead];
#pragma unroll
  for (int a = 0; a < kAhead; ++a) some_keys[a] = entry(keys, own_key, min(a * kKeys + own, last));
#pragma unroll
  for (int a = 0; a < kAhead; ++a) some_values[a] = entry(values, own_value, min(a * kKeys + own, last));
  if (position && own == 0) {
    const long long place = row * row_stride + head * head_stride + static_cast<long long>(last) * WIDTH + lane * kVector;
    *reinterpret_cast<uint4*>(keys + place) = *reinterpret_cast<const uint4*>(own_key + lane * kVector);
    *reinterpret_cast<uint4*>(values + place) = *reinterpret_cast<const uint4*>(own_value + lane * kVector);
  }
  float q[kVector];
#pragma unroll
  for (int e = 0; e < kVector; ++e) q[e] = widen(query[row * s.query_row + head * s.query_head + lane * kVector + e]) * s.scale;

  float largest = -INFINITY;
  for (int first = 0; first <= last; first += kAhead * kKeys) {
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const int j = first + a * kKeys + own;
      float k[kVector], score = 0.0f;
      unpack(some_keys[a], k);
#pragma unroll
      for (int e = 0; e < kVector; ++e) score += q[e] * k[e];
#pragma unroll
      for (int step = kLanes / 2; step > 0; step /= 2) score += __shfl_xor_sync(0xffffffff, score, step);
      if (j > last) continue;
      if (mask) score += widen(mask[row / s.beams * s.mask_row + head * s.mask_head + j]);
      largest = fmaxf(largest, score);
      if (lane == 0) scores[j] = score;
    }
    if (first + kAhead * kKeys > last) break;
#pragma unroll
    for (int a = 0; a < kAhead; ++a) some_keys[a] = entry(keys, own_key, min(first + (kAhead + a) * kKeys + own, last));
  }
  largest = of_all(largest, true);
  if (largest == -INFINITY) largest = 0.0f;  // nothing to be seen: zeros
  float sum = 0.0f;
  for (int j = threadIdx.x; j <= last; j += kThreads) sum += scores[j] = expf(scores[j] - largest);
  sum = of_all(sum, false);

  float mixed[kVector] = {};
  for (int first = 0; first <= last; first += kAhead * kKeys) {
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const int j = first + a * kKeys + own;
      const float weight = j <= last ? scores[j] : 0.0f;
      float v[kVector];
      unpack(some_values[a], v);
#pragma unroll
      for (int e = 0; e < kVector; ++e) mixed[e] += weight * v[e];
    }
    if (first + kAhead * kKeys > last) break;
#pragma unroll
    for (int a = 0; a < kAhead; ++a) some_values[a] = entry(values, own_value, min(first + (kAhead + a) * kKeys + own, last));
  }
#pragma unroll
  for (int e = 0; e < kVector; ++e) {
#pragma unroll
    for (int step = kLanes; step < 32; step *= 2) mixed[e] += __shfl_xor_sync(0xffffffff, mixed[e], step);
    if (threadIdx.x % 32 < kLanes) of_warps[threadIdx.x / 32][lane * kVector + e] = mixed[e];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < WIDTH; i += kThreads) {
    float y = 0.0f;
    for (int warp = 0; warp < kWarps; ++warp) y += of_warps[warp][i];
    out[(static_cast<long long>(row) * s.heads + head) * WIDTH + i] = narrow(sum > 0.0f ? y / sum : 0.0f);
  }
}
#endif
)cuda";

}  // namespace zoo::gpu_kernels
