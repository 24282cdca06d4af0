// Line plots as inline SVG.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace zoo::app {

struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x ascending; values that are not finite are left out
  bool dots = false;                              // mark every point
  int colour = -1;                                // number in the palette; -1: the place in the plot. A series without a
                                                  // name does not stand in the legend
};

struct Plot {
  std::string title, x_label;
  std::vector<Series> series;
};

// An <svg> of 520 x 260 pixels with axes, round tick values and, for more than one series, a legend: beside the title, or in
// rows below, for which the picture grows, where that is too narrow. A plot without points says so.
std::string draw_svg(const Plot& plot);

// About `count` round values (1, 2 or 5 times a power of ten apart) that lie within low .. high.
std::vector<double> round_ticks(double low, double high, int count);

}  // namespace zoo::app
