#include "app/report/svg.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>

#include "app/report/html.h"

namespace zoo::app {
namespace svg_detail {

constexpr double kWidth = 520, kHeight = 260, kLeft = 58, kRight = 14, kTop = 30, kBottom = 40;
constexpr std::array<const char*, 8> kColours = {"#2563c9", "#d97706", "#0f9d76", "#b83280", "#6b7280", "#7c4ddb", "#0891b2", "#a16207"};

const char* colour_of(const Series& series, size_t place) {
  return kColours[(series.colour >= 0 ? static_cast<size_t>(series.colour) : place) % kColours.size()];
}

std::string number(double value, const char* format = "%.1f") {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void take(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  void open_up() {  // a flat line still needs a height
    if (high > low) return;
    const double margin = std::abs(low) > 0 ? std::abs(low) * 0.1 : 1.0;
    low -= margin;
    high += margin;
  }
};

struct Frame {
  Range x, y;
  double px(double value) const { return kLeft + (value - x.low) / (x.high - x.low) * (kWidth - kLeft - kRight); }
  double py(double value) const { return kHeight - kBottom - (value - y.low) / (y.high - y.low) * (kHeight - kTop - kBottom); }
};

std::string text_at(double x, double y, const char* anchor, const std::string& text, const char* more = "") {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor + "\"" + more + ">" + escape_html(text) + "</text>";
}

std::string axes(const Frame& frame, const Plot& plot) {
  std::string svg;
  for (const double tick : round_ticks(frame.y.low, frame.y.high, 5)) {
    const std::string y = number(frame.py(tick));
    svg += "<line x1=\"" + number(kLeft) + "\" x2=\"" + number(kWidth - kRight) + "\" y1=\"" + y + "\" y2=\"" + y + "\" stroke=\"var(--line)\"/>";
    svg += text_at(kLeft - 6, frame.py(tick) + 4, "end", number(tick, "%.4g"));
  }
  for (const double tick : round_ticks(frame.x.low, frame.x.high, 6)) svg += text_at(frame.px(tick), kHeight - kBottom + 16, "middle", number(tick, "%.4g"));
  svg += text_at((kLeft + kWidth - kRight) / 2, kHeight - 6, "middle", plot.x_label);
  return svg + text_at(kLeft, 18, "start", plot.title, " style=\"font-weight:600;font-size:13px\"");
}

std::string line(const Series& series, const Frame& frame, const char* colour) {
  std::string points, dots;
  for (const auto& [x, y] : series.points) {
    if (!std::isfinite(x) || !std::isfinite(y)) continue;
    points += number(frame.px(x)) + "," + number(frame.py(y)) + " ";
    if (series.dots) dots += "<circle cx=\"" + number(frame.px(x)) + "\" cy=\"" + number(frame.py(y)) + "\" r=\"2.6\" fill=\"" + colour + "\"/>";
  }
  return "<polyline fill=\"none\" stroke-width=\"1.7\" stroke-linejoin=\"round\" stroke=\"" + std::string(colour) + "\" points=\"" + points + "\"/>" + dots;
}

// Beside the title where the names fit there, else in rows below the axis.
struct Legend {
  std::string svg;
  double rows = 0;  // below
};

double legend_width(const Series& series) { return 7.0 * static_cast<double>(series.name.size()) + 28; }

std::string legend_entry(const Series& series, double x, double y, const char* colour) {
  return "<rect x=\"" + number(x) + "\" y=\"" + number(y - 8) + "\" width=\"9\" height=\"9\" rx=\"2\" fill=\"" + colour + "\"/>" +
         text_at(x + 13, y, "start", series.name);
}

Legend legend(const Plot& plot) {
  double width = 0;
  size_t named = 0;
  for (const auto& series : plot.series) {
    if (series.name.empty()) continue;
    width += legend_width(series);
    ++named;
  }
  if (named < 2) return {};
  const bool beside = width < kWidth - kRight - kLeft - 8.0 * static_cast<double>(plot.title.size()) - 20;
  double x = beside ? kWidth - kRight - width + 10 : kLeft, y = beside ? 18 : kHeight + 8;
  Legend result{"", beside ? 0.0 : 1.0};
  for (size_t i = 0; i < plot.series.size(); ++i) {
    const auto& series = plot.series[i];
    if (series.name.empty()) continue;
    if (!beside && x > kLeft && x + legend_width(series) > kWidth) x = kLeft, y += 16, ++result.rows;
    result.svg += legend_entry(series, x, y, colour_of(series, i));
    x += legend_width(series);
  }
  return result;
}

}  // namespace svg_detail

std::vector<double> round_ticks(double low, double high, int count) {
  const double rough = (high - low) / std::max(count, 1);
  if (!(rough > 0) || !std::isfinite(rough)) return {low};
  const double power = std::pow(10.0, std::floor(std::log10(rough))), lead = rough / power;
  const double step = power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
  std::vector<double> ticks;
  for (double k = std::ceil(low / step - 1e-9); k * step <= high + step * 1e-9; ++k) ticks.push_back(k * step + 0.0);  // never -0
  return ticks;
}

std::string draw_svg(const Plot& plot) {
  namespace d = svg_detail;
  d::Frame frame;
  for (const auto& series : plot.series) {
    for (const auto& [x, y] : series.points) {
      if (!std::isfinite(x) || !std::isfinite(y)) continue;
      frame.x.take(x);
      frame.y.take(y);
    }
  }
  const d::Legend legend = d::legend(plot);
  const std::string height = d::number(d::kHeight + 16 * legend.rows, "%.0f");
  std::string svg = "<svg width=\"520\" height=\"" + height + "\" viewBox=\"0 0 520 " + height + "\" role=\"img\" aria-label=\"" +
                    escape_html(plot.title) + "\">";
  if (frame.x.low > frame.x.high) return svg + d::text_at(260, 130, "middle", plot.title + ": no values") + "</svg>";
  frame.x.open_up();
  frame.y.open_up();
  svg += d::axes(frame, plot);
  for (size_t i = 0; i < plot.series.size(); ++i) svg += d::line(plot.series[i], frame, d::colour_of(plot.series[i], i));
  return svg + legend.svg + "</svg>";
}

}  // namespace zoo::app
