// The texts of a data set, by row: held in memory, or, where their file is large, read from it whenever they are needed.
#pragma once
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "app/tasks/text_batches.h"

namespace zoo::app {

// One text a row, or two.
class TextRows {
 public:
  using Read = std::function<std::vector<std::string>(int64_t row)>;  // safe from several threads
  TextRows() = default;
  explicit TextRows(std::vector<std::string> first, std::vector<std::string> second = {});  // held; `second` empty or as long
  TextRows(int64_t size, bool paired, Read read);                                           // left where they are

  int64_t size() const { return size_; }
  bool paired() const { return paired_; }
  bool held() const { return !read_; }
  std::vector<std::string> row(int64_t index) const;  // one or two texts
  // All of them, when they are held.
  const std::vector<std::string>& first() const { return first_; }
  const std::vector<std::string>& second() const { return second_; }

 private:
  int64_t size_ = 0;
  bool paired_ = false;
  std::vector<std::string> first_, second_;
  Read read_;
};

// The first texts of all rows, then the second ones: what vocabularies are made of.
std::vector<std::string> all_texts(const TextRows& rows);

// Whether a file is too large to be held with its tokens, which take ten times its size: option stream_above_mb (default 64). Says so on
// the log. Throws UsageError for an option that is no number from 0 up.
bool left_in_file(const std::filesystem::path& file, const Json& options);

// What a network reads of such texts. Texts that are held are encoded once, at the start; others whenever they are asked for.
class RowEncodings {
 public:
  // `second` is empty where rows have one text. `all`: these are all texts of the set, so that what was cut can be told.
  using Encode = std::function<EncodedTexts(std::span<const std::string> first, std::span<const std::string> second, bool all)>;
  RowEncodings(TextRows rows, Encode encode);

  int64_t size() const { return rows_.size(); }
  const TextRows& rows() const { return rows_; }
  EncodedTexts of(std::span<const int64_t> indices) const;  // in this order; safe from several threads
  // In tokens, of both texts. The first call for rows in a file reads them all.
  int64_t length(int64_t index) const;

 private:
  void measure() const;

  TextRows rows_;
  Encode encode_;
  EncodedTexts held_;
  mutable std::once_flag measured_;
  mutable std::vector<int32_t> lengths_;
};

}  // namespace zoo::app
