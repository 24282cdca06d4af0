// Technical indicators against TA-Lib's figures (tests/reference/indicators.py), their warm-up and their errors.
#include "data/indicators.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/catch.h"

using namespace zoo::data;

namespace indicators_test {

Prices column(const nlohmann::json& figures, const std::string& name) {
  Prices values;
  for (const auto& value : figures.at("columns").at(name)) values.push_back(value.is_null() ? NAN : value.get<double>());
  return values;
}

// How many values are wrong: NaN where the other is not, or further away than rounding.
int wrong(const Prices& here, const Prices& reference) {
  if (here.size() != reference.size()) return -1;
  int count = 0;
  for (size_t i = 0; i < here.size(); ++i) {
    const bool both_nan = std::isnan(here[i]) && std::isnan(reference[i]);
    count += !(both_nan || std::abs(here[i] - reference[i]) <= 1e-8 * (1.0 + std::abs(reference[i])));
  }
  return count;
}

}  // namespace indicators_test

TEST_CASE("indicators equal TA-Lib's, warm-up included", "[indicators]") {
  namespace t = indicators_test;
  std::ifstream file(std::string(ZOO_TEST_DIR) + "/fixtures/files/indicators.json");
  const auto figures = nlohmann::json::parse(file);
  const auto price = t::column(figures, "price");
  REQUIRE(price.size() == 200);
  auto names = indicator_names();
  names.insert(names.end(), {"rsi_5", "ema_7"});
  for (const auto& [name, values] : indicator_columns(price, names)) {
    INFO(name);
    CHECK(t::wrong(values, t::column(figures, name)) == 0);
  }
  const auto macd = moving_average_convergence(price, 3, 7, 4);
  CHECK(t::wrong(macd.line, t::column(figures, "macd(3,7,4)")) == 0);
  CHECK(t::wrong(macd.signal, t::column(figures, "macd_signal(3,7,4)")) == 0);
  CHECK(t::wrong(macd.histogram, t::column(figures, "macd_histogram(3,7,4)")) == 0);
}

TEST_CASE("indicators of prices that one can work out by hand", "[indicators]") {
  const Prices price = {1, 2, 3, 4, 2};
  CHECK(simple_moving_average(price, 2)[4] == 3.0);
  CHECK(exponential_moving_average(price, 2)[2] == 2.5);  // 1.5 + (3 - 1.5) * 2 / 3
  CHECK(relative_strength_index({1, 2, 3, 4}, 2)[3] == 100.0);
  CHECK(relative_strength_index({5, 5, 5, 5}, 2)[3] == 0.0);
  CHECK(relative_strength_index({1, 2, 1}, 2)[2] == 50.0);
  const auto bands = bollinger_bands({1, 3, 1}, 2);
  CHECK(bands.upper[1] == 4.0);
  CHECK(bands.lower[1] == 0.0);
  CHECK(std::isnan(bands.middle[0]));
  CHECK(std::isnan(simple_moving_average(price, 9)[4]));  // never warm: all NaN, no reading beyond the end
  CHECK(simple_moving_average({}, 3).empty());
  CHECK(moving_average_convergence({1, 2, 3}).histogram.size() == 3);
}

TEST_CASE("indicators refuse what they cannot compute", "[indicators]") {
  CHECK_THROWS_AS(simple_moving_average({1, 2}, 0), std::invalid_argument);
  CHECK_THROWS_AS(relative_strength_index({1, 2}, 1), std::invalid_argument);
  CHECK_THROWS_AS(bollinger_bands({1, NAN, 2}, 2), std::invalid_argument);
  CHECK_THROWS_AS(moving_average_convergence({1, 2}, 5, 5, 2), std::invalid_argument);
  for (const std::string name : {"rsi", "rsi_1", "rsi_99999", "rsi_-3", "macd_5", "volume_3", "", "_", "sma_20000000000"}) {
    INFO(name);
    CHECK_THROWS_AS(indicator_columns({1, 2, 3, 4}, {name}), std::invalid_argument);
  }
  CHECK_THROWS_AS(indicator_columns({1, 2, 3, 4}, {"sma_5"}), std::invalid_argument);
  CHECK_THROWS_AS(indicator_columns({}, {"sma_2"}), std::invalid_argument);
}
