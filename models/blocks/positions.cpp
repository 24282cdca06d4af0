#include "models/blocks/positions.h"

#include <cmath>

namespace zoo {

at::Tensor resize_position_table(const at::Tensor& table, int64_t rows, int64_t extra, Resize how) {
  if (table.dim() != 3 || table.size(0) != 1 || table.size(1) <= extra || rows <= extra) return {};
  const auto side_of = [](int64_t cells) { return static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(cells)))); };
  const int64_t from = side_of(table.size(1) - extra), to = side_of(rows - extra);
  if (from * from != table.size(1) - extra || to * to != rows - extra) return {};
  const auto grid = table.slice(1, extra).to(at::kFloat).reshape({1, from, from, -1}).permute({0, 3, 1, 2});
  const std::vector<int64_t> size = {to, to};
  const auto resized = how == Resize::bilinear ? at::upsample_bilinear2d(grid, size, /*align_corners=*/false)
                                               : at::upsample_bicubic2d(grid, size, /*align_corners=*/false);
  const auto cells = resized.permute({0, 2, 3, 1}).reshape({1, to * to, table.size(2)});
  return at::cat({table.slice(1, 0, extra), cells.to(table.scalar_type())}, 1);
}

at::Tensor sine_position_table(int64_t n, int64_t dim) {
  auto table = at::empty({1, n, dim}, at::kDouble);
  auto cells = table.accessor<double, 3>();
  for (int64_t p = 0; p < n; ++p) {
    for (int64_t i = 0; i < dim; ++i) {
      const double angle = static_cast<float>(p / std::pow(10000.0, 2.0 * (i / 2) / static_cast<double>(dim)));
      cells[0][p][i] = i % 2 == 0 ? std::sin(angle) : std::cos(angle);
    }
  }
  return table.to(at::kFloat);
}

at::Tensor relative_buckets(const at::Tensor& ahead, bool both_ways, int64_t buckets, int64_t furthest) {
  const int64_t each = both_ways ? buckets / 2 : buckets;
  const at::Tensor distance = both_ways ? ahead.abs() : (-ahead).clamp_min(0);
  const int64_t exact = each / 2;
  const double span = std::log(static_cast<double>(furthest) / static_cast<double>(exact));
  const at::Tensor wide = exact + (at::log(distance.to(at::kFloat) / exact) / span * (each - exact)).clamp_min(0.0).to(at::kLong);
  const at::Tensor bucket = at::where(distance < exact, distance, wide.clamp_max(each - 1));
  return both_ways ? bucket + (ahead > 0).to(at::kLong) * each : bucket;
}

at::Tensor positions_after_padding(const at::Tensor& tokens, int64_t pad, int64_t past) {
  const at::Tensor real = tokens.ne(pad).to(at::kLong);
  return (real.cumsum(1) + past) * real + pad;
}

at::Tensor with_class_token(const at::Tensor& token, const at::Tensor& patches, const at::Tensor& positions) {
  const bool alike = token.scalar_type() == patches.scalar_type() && positions.scalar_type() == patches.scalar_type();
  if (!patches.is_cuda() || !alike || at::GradMode::is_enabled()) return at::cat({token.expand({patches.size(0), -1, -1}), patches}, 1) + positions;
  // One pass over memory for two.
  const int64_t count = patches.size(1);
  at::Tensor x = at::empty({patches.size(0), 1 + count, patches.size(2)}, patches.options()), first = x.narrow(1, 0, 1), rest = x.narrow(1, 1, count);
  first.copy_(token + positions.narrow(1, 0, 1));
  at::add_out(rest, patches, positions.narrow(1, 1, count));
  return x;
}

}  // namespace zoo
