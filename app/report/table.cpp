#include "app/report/table.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace zoo::app {
namespace table_detail {

// Characters, not bytes: continuation bytes of UTF-8 take no column.
size_t width_of(const std::string& text) {
  size_t width = 0;
  for (const unsigned char byte : text) width += (byte & 0xC0) != 0x80;
  return width;
}

std::string padded(const std::string& text, size_t width, bool right) {
  const std::string space(width - std::min(width, width_of(text)), ' ');
  return right ? space + text : text + space;
}

std::string replaced(const std::string& text, char what, const std::string& with) {
  std::string result;
  for (const char c : text) result += c == what ? with : std::string(1, c);
  return result;
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  return "\"" + replaced(text, '"', "\"\"") + "\"";
}

}  // namespace table_detail

void Table::add(std::vector<std::string> cells) {
  if (cells.size() != columns_.size()) {
    throw std::logic_error("table row of " + std::to_string(cells.size()) + " cells; the table has " +
                           std::to_string(columns_.size()) + " columns");
  }
  rows_.push_back(std::move(cells));
}

std::vector<size_t> Table::widths() const {
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    size_t width = table_detail::width_of(columns_[i].title);
    for (const auto& row : rows_) width = std::max(width, table_detail::width_of(row[i]));
    widths.push_back(width);
  }
  return widths;
}

std::string Table::text() const {
  const auto width = widths();
  std::string result;
  const auto line = [&](const auto& cell) {
    std::string text;
    for (size_t i = 0; i < columns_.size(); ++i) {
      text += (i ? "  " : "") + table_detail::padded(cell(i), width[i], columns_[i].number);
    }
    result += text.substr(0, text.find_last_not_of(' ') + 1) + "\n";
  };
  line([&](size_t i) { return columns_[i].title; });
  line([&](size_t i) { return std::string(width[i], '-'); });
  for (const auto& row : rows_) line([&](size_t i) { return row[i]; });
  return result;
}

std::string Table::markdown() const {
  std::string result = "|";
  for (const auto& column : columns_) result += " " + column.title + " |";
  result += "\n|";
  for (const auto& column : columns_) result += column.number ? "---:|" : "---|";
  result += "\n";
  for (const auto& row : rows_) {
    result += "|";
    for (const auto& cell : row) result += " " + table_detail::replaced(table_detail::replaced(cell, '|', "\\|"), '\n', " ") + " |";
    result += "\n";
  }
  return result;
}

std::string Table::csv() const {
  std::string result;
  for (size_t i = 0; i < columns_.size(); ++i) result += (i ? "," : "") + table_detail::csv_cell(columns_[i].title);
  result += "\n";
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) result += (i ? "," : "") + table_detail::csv_cell(row[i]);
    result += "\n";
  }
  return result;
}

std::string fixed_text(double value, int digits) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::array<char, 400> text;  // the largest double has 309 digits before the point
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

std::string count_text(int64_t count) {
  if (count < 1000) return std::to_string(count);
  const char* units[] = {"k", "M", "G", "T"};
  double value = static_cast<double>(count);
  size_t unit = 0;
  for (value /= 1000; value >= 999.95 && unit + 1 < std::size(units); value /= 1000) ++unit;
  return fixed_text(value, 1) + " " + units[unit];
}

std::string bytes_text(uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  const char* units[] = {"KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  for (value /= 1024; value >= 1023.95 && unit + 1 < std::size(units); value /= 1024) ++unit;
  return fixed_text(value, 1) + " " + units[unit];
}

}  // namespace zoo::app
