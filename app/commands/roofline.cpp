// zoo bench --roofline: what this machine can do, and how near the layers come.
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "app/commands/bench_parts.h"
#include "app/machine.h"
#include "app/report/table.h"
#include "models/blocks/packed_weight.h"

namespace zoo::app {
namespace roofline_detail {

constexpr int64_t kOut = 3072, kIn = 768;      // a feed-forward layer of BERT-base; 9.4 MB
constexpr int64_t kBig = 8192;                 // 8192 x 8192: 268 MB, beyond every cache
constexpr double kSeconds = 0.4;               // of each measurement, at least

// The fastest of many runs: what the machine can do when nothing else disturbs it.
double fastest(const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  work();
  double best = 1e9, total = 0;
  for (int runs = 0; runs < 5 || total < kSeconds; ++runs) {
    const auto start = Clock::now();
    work();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::min(best, seconds);
    total += seconds;
  }
  return best;
}

struct Kind {
  const char* name;
  Precision precision;
  double bytes;  // of one weight
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {{"float32", Precision::float32, 4}, {"bfloat16", Precision::bfloat16, 2}, {"int8", Precision::int8, 1},
                                         {"int8-weights", Precision::int8_weights, 1}, {"int4-weights", Precision::int4_weights, 0.5}};
  return all;
}

// Bytes read and written a second by a copy that no cache holds.
double copy_bandwidth() {
  const at::Tensor from = at::ones({int64_t{64} << 20}), to = at::empty_like(from);
  return 2.0 * static_cast<double>(from.nbytes()) / fastest([&] { to.copy_(from); });
}

double read_bandwidth() {
  const at::Tensor from = at::ones({int64_t{64} << 20});
  return static_cast<double>(from.nbytes()) / fastest([&] { from.sum(); });
}

std::function<at::Tensor(const at::Tensor&)> product_of(const at::Tensor& weight, Precision precision) {
  const auto packed = pack_weight(weight, at::Tensor(), precision);
  if (!packed) return [weight](const at::Tensor& x) { return at::linear(x, weight); };
  return [packed](const at::Tensor& x) { return packed->multiply(x, at::Tensor(), Pointwise::none, at::Tensor()); };
}

Json products(const Kind& kind) {
  Json rows = Json::array();
  const auto product = product_of(at::randn({kOut, kIn}), kind.precision);
  for (const int64_t count : {1, 4, 16, 128, 1024}) {
    const at::Tensor x = at::randn({count, kIn});
    const double seconds = fastest([&] { product(x); });
    rows.push_back({{"rows", count}, {"operations_per_second", 2.0 * static_cast<double>(count * kOut * kIn) / seconds}});
  }
  return rows;
}

double weight_bandwidth(const Kind& kind) {
  const auto product = product_of(at::randn({kBig, kBig}), kind.precision);
  const at::Tensor x = at::randn({1, kBig});
  return kind.bytes * static_cast<double>(kBig * kBig) / fastest([&] { product(x); });
}

}  // namespace roofline_detail

Json roofline() {
  namespace d = roofline_detail;
  const at::NoGradGuard no_grad;
  Json json = {{"cpu", cpu_name()}, {"threads", at::get_num_threads()}, {"copy_bytes_per_second", d::copy_bandwidth()},
               {"read_bytes_per_second", d::read_bandwidth()}, {"shape", {d::kOut, d::kIn}}, {"precisions", Json::array()}};
  for (const auto& kind : d::kinds()) {
    const Json products = d::products(kind);
    double peak = 0;
    for (const auto& row : products) peak = std::max(peak, row.at("operations_per_second").get<double>());
    json["precisions"].push_back({{"precision", kind.name}, {"kernel", packed_kernel_name(kind.precision)}, {"peak_operations_per_second", peak},
                                  {"weight_bytes_per_second", d::weight_bandwidth(kind)}, {"products", products}});
  }
  return json;
}

std::string roofline_text(const Json& json) {
  const auto giga = [](const Json& value) { return fixed_text(value.get<double>() * 1e-9, 1); };
  std::string text = json.at("cpu").get<std::string>() + ", " + json.at("threads").dump() + " threads: memory is copied at " +
                     giga(json.at("copy_bytes_per_second")) + " GB/s and read at " + giga(json.at("read_bytes_per_second")) + " GB/s\n\n";
  Table table({{"precision"}, {"kernel"}, {"1 row", true}, {"4", true}, {"16", true}, {"128", true}, {"1024", true}, {"weights from memory", true}});
  for (const auto& kind : json.at("precisions")) {
    std::vector<std::string> line = {kind.at("precision").get<std::string>(), kind.at("kernel").get<std::string>()};
    for (const auto& row : kind.at("products")) line.push_back(giga(row.at("operations_per_second")));
    line.push_back(giga(kind.at("weight_bytes_per_second")) + " GB/s");
    table.add(line);
  }
  return text + table.text() + "\nGFLOP/s (int8: GOP/s) of a layer 768 -> 3072; \"weights from memory\": one row through a weight of 8192 x 8192.\n";
}

}  // namespace zoo::app
