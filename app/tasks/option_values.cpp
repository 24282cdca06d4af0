#include "app/tasks/option_values.h"

#include <optional>

#include "app/cli.h"
#include "data/csv.h"

namespace zoo::app {
namespace option_values_detail {

// Null where the option is not given.
Json value_of(const Json& options, const char* key) {
  return options.is_object() && options.contains(key) ? options.at(key) : Json();
}

UsageError wrong(const char* key, const Json& value, const std::string& expected) {
  return UsageError(std::string(key) + " is " + value.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80) + "; " + expected + " is expected");
}

// Of a number, or of its text.
std::optional<double> number_of(const Json& value) {
  if (value.is_string()) return data::parse_number(value.get<std::string>());
  return value.is_number() ? std::optional<double>(value.get<double>()) : std::nullopt;
}

}  // namespace option_values_detail

int64_t count_option(const Json& options, const char* key, int64_t fallback) {
  const Json value = option_values_detail::value_of(options, key);
  if (value.is_null()) return fallback;
  const auto number = option_values_detail::number_of(value);
  if (!number || !(*number >= 1 && *number <= 1e9) || *number != static_cast<double>(static_cast<int64_t>(*number)))
    throw option_values_detail::wrong(key, value, "a whole number of at least 1");
  return static_cast<int64_t>(*number);
}

double number_option(const Json& options, const char* key, double fallback, double least, double most) {
  const Json value = option_values_detail::value_of(options, key);
  if (value.is_null()) return fallback;
  const auto number = option_values_detail::number_of(value);
  if (!number || !(*number >= least && *number <= most)) throw option_values_detail::wrong(key, value, "a number from " + Json(least).dump() + " to " + Json(most).dump());
  return *number;
}

std::string text_option(const Json& options, const char* key, const std::string& fallback) {
  const Json value = option_values_detail::value_of(options, key);
  if (value.is_null()) return fallback;
  if (value.is_structured()) throw option_values_detail::wrong(key, value, "a text");
  return value.is_string() ? value.get<std::string>() : value.dump();
}

bool flag_option(const Json& options, const char* key, bool fallback) {
  const Json value = option_values_detail::value_of(options, key);
  if (value.is_null()) return fallback;
  if (value.is_boolean()) return value.get<bool>();
  if (value == "true" || value == "1") return true;
  if (value == "false" || value == "0") return false;
  throw option_values_detail::wrong(key, value, "true or false");
}

}  // namespace zoo::app
