#include "app/tasks/text_rows.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <numeric>

#include "app/cli.h"

namespace zoo::app {
namespace text_rows_detail {

constexpr double kStreamAboveMb = 64.0;
constexpr int64_t kMeasuredAtOnce = 4096;  // rows

}  // namespace text_rows_detail

TextRows::TextRows(std::vector<std::string> first, std::vector<std::string> second)
    : size_(static_cast<int64_t>(first.size())), paired_(!second.empty()), first_(std::move(first)), second_(std::move(second)) {
  TORCH_CHECK_VALUE(!paired_ || second_.size() == first_.size(), "TextRows: ", first_.size(), " texts, ", second_.size(), " second ones");
}

TextRows::TextRows(int64_t size, bool paired, Read read) : size_(size), paired_(paired), read_(std::move(read)) {}

std::vector<std::string> TextRows::row(int64_t index) const {
  if (read_) return read_(index);
  const auto place = static_cast<size_t>(index);
  return paired_ ? std::vector<std::string>{first_.at(place), second_.at(place)} : std::vector<std::string>{first_.at(place)};
}

std::vector<std::string> all_texts(const TextRows& rows) {
  std::vector<std::string> texts;
  for (size_t side = 0; side < (rows.paired() ? 2 : 1); ++side) {
    for (int64_t i = 0; i < rows.size(); ++i) texts.push_back(std::move(rows.row(i)[side]));
  }
  return texts;
}

bool left_in_file(const std::filesystem::path& file, const Json& options) {
  const Json wanted = options.is_object() ? options.value("stream_above_mb", Json(text_rows_detail::kStreamAboveMb)) : Json(text_rows_detail::kStreamAboveMb);
  if (!wanted.is_number() || wanted.get<double>() < 0.0)
    throw UsageError("stream_above_mb is " + wanted.dump().substr(0, 80) + "; the size in MB above which a file is read row by row is expected, from 0 up");
  std::error_code error;
  const auto bytes = std::filesystem::file_size(file, error);
  if (error || static_cast<double>(bytes) <= wanted.get<double>() * 1e6) return false;
  spdlog::info("{}: {} MB; its rows stay in the file and are read and tokenized when they are needed (option stream_above_mb)", file.string(), bytes / 1000000);
  return true;
}

RowEncodings::RowEncodings(TextRows rows, Encode encode) : rows_(std::move(rows)), encode_(std::move(encode)) {
  if (rows_.held()) held_ = encode_(rows_.first(), rows_.second(), /*all=*/true);
}

EncodedTexts RowEncodings::of(std::span<const int64_t> indices) const {
  if (!rows_.held()) {
    std::vector<std::string> first, second;
    for (const int64_t index : indices) {
      auto row = rows_.row(index);
      first.push_back(std::move(row.at(0)));
      if (rows_.paired()) second.push_back(std::move(row.at(1)));
    }
    return encode_(first, second, /*all=*/false);
  }
  EncodedTexts some;
  for (const int64_t index : indices) {
    const auto place = static_cast<size_t>(index);
    some.texts.push_back(held_.texts.at(place));
    if (!held_.pairs.empty()) some.pairs.push_back(held_.pairs.at(place));
    if (!held_.prompts.empty()) some.prompts.push_back(held_.prompts.at(place));
  }
  return some;
}

void RowEncodings::measure() const {
  spdlog::info("measuring {} texts, so that those of one length can be taken together", size());
  std::vector<int64_t> indices;
  lengths_.reserve(static_cast<size_t>(size()));
  for (int64_t begin = 0; begin < size(); begin += text_rows_detail::kMeasuredAtOnce) {
    indices.resize(static_cast<size_t>(std::min(text_rows_detail::kMeasuredAtOnce, size() - begin)));
    std::iota(indices.begin(), indices.end(), begin);
    const EncodedTexts some = of(indices);
    for (int64_t i = 0; i < some.size(); ++i) lengths_.push_back(static_cast<int32_t>(some.length(i)));
  }
}

int64_t RowEncodings::length(int64_t index) const {
  if (rows_.held()) return held_.length(index);
  std::call_once(measured_, [this] { measure(); });
  return lengths_.at(static_cast<size_t>(index));
}

}  // namespace zoo::app
