#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <unordered_set>

#include <nlohmann/json.hpp>

#include "weights/safetensors.h"

namespace zoo::weights {

namespace safetensors_detail {

using nlohmann::json;

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the reference library's limit

struct HeaderEntry {
  std::string name, dtype;
  std::vector<int64_t> shape;
  std::vector<uint64_t> offsets;
  bool has_dtype = false, has_shape = false, has_offsets = false;
};

std::string in_quotes(const std::string& name) { return "\"" + name.substr(0, 200) + "\""; }

// Takes the header event by event. A document tree would hide repeated names and turn 100 MB of brackets into
// gigabytes; here anything but the three levels of the format stops the parse at once.
class HeaderReader : public nlohmann::json_sax<json> {
 public:
  std::vector<HeaderEntry> entries;
  Metadata metadata;

  bool start_object(std::size_t) override {
    if (in_ == In::nothing) return enter(In::header);
    if (in_ == In::header && key_ == "__metadata__") return enter(In::metadata);
    if (in_ != In::header) wrong("an object");
    entries.push_back({});
    entries.back().name = key_;
    return enter(In::tensor);
  }
  bool end_object() override {
    if (in_ == In::tensor) check_complete();
    return enter(in_ == In::header ? In::done : In::header);
  }
  bool key(std::string& name) override {
    if (name.size() > kMaxNameBytes) {
      throw std::runtime_error("the name " + in_quotes(name) + "... is longer than " +
                               std::to_string(kMaxNameBytes) + " bytes");
    }
    if (in_ == In::header && !names_.insert(name).second)
      throw std::runtime_error(in_quotes(name) + " appears twice");
    if (in_ == In::metadata && metadata.count(name))
      throw std::runtime_error("metadata key " + in_quotes(name) + " appears twice");
    (in_ == In::header ? key_ : field_) = name;
    return true;
  }
  bool string(std::string& value) override {
    if (in_ == In::metadata) return metadata.emplace(field_, value).second;
    if (in_ != In::tensor || field_ != "dtype") wrong("text");
    entries.back().dtype = value;
    return claim(entries.back().has_dtype);
  }
  bool start_array(std::size_t) override {
    if (in_ == In::tensor && field_ == "shape") return claim(entries.back().has_shape) && enter(In::shape);
    if (in_ == In::tensor && field_ == "data_offsets")
      return claim(entries.back().has_offsets) && enter(In::offsets);
    wrong("a list");
  }
  bool end_array() override { return enter(In::tensor); }
  bool number_unsigned(uint64_t value) override {
    if (in_ == In::shape && value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      wrong("a size beyond 63 bits");
    if (in_ == In::shape) entries.back().shape.push_back(static_cast<int64_t>(value));
    else if (in_ == In::offsets) entries.back().offsets.push_back(value);
    else wrong("a number");
    if (entries.back().shape.size() > 64) wrong("more than 64 dimensions");
    if (entries.back().offsets.size() > 2) wrong("more than two data_offsets");
    return true;
  }
  bool number_integer(int64_t value) override { wrong("the negative number " + std::to_string(value)); }
  bool number_float(double, const std::string& text) override { wrong("the number " + text.substr(0, 40)); }
  bool boolean(bool) override { wrong("true or false"); }
  bool null() override { wrong("null"); }
  bool binary(json::binary_t&) override { wrong("binary data"); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    throw std::runtime_error("not valid JSON at byte " + std::to_string(position) + " of the header: " +
                             std::string(error.what()).substr(0, 200));
  }

 private:
  enum class In { nothing, header, metadata, tensor, shape, offsets, done };

  bool enter(In where) {
    in_ = where;
    return true;
  }
  bool claim(bool& seen) {
    if (seen)
      throw std::runtime_error(in_quotes(key_) + ": the field " + in_quotes(field_) + " appears twice");
    return seen = true;
  }
  void check_complete() {
    const HeaderEntry& entry = entries.back();
    if (entry.has_dtype && entry.has_shape && entry.has_offsets && entry.offsets.size() == 2) return;
    throw std::runtime_error(in_quotes(entry.name) + ": needs dtype, shape and data_offsets [begin, end]");
  }
  [[noreturn]] void wrong(const std::string& value) {
    std::string place = in_ == In::nothing || in_ == In::done ? "the header" : in_quotes(key_);
    if (in_ == In::metadata || in_ == In::tensor || in_ == In::shape || in_ == In::offsets)
      place += "." + field_;
    throw std::runtime_error(place + " holds " + value + ", which the format does not allow there");
  }

  In in_ = In::nothing;
  std::string key_, field_;
  std::unordered_set<std::string> names_;
};

HeaderReader parse_header(std::string_view text) {
  if (text.empty() || text.front() != '{') throw std::runtime_error("the header does not begin with \"{\"");
  HeaderReader reader;
  json::sax_parse(text, &reader);
  return reader;
}

uint64_t header_length(const MappedFile& file) {
  if (file.size() < 8) {
    throw std::runtime_error(std::to_string(file.size()) +
                             " bytes; a safetensors file has at least 8 (truncated?)");
  }
  uint64_t length = 0;
  std::memcpy(&length, file.at(0), sizeof length);
  if (length > kMaxHeaderBytes) {
    throw std::runtime_error("header length " + std::to_string(length) + " is above the format's limit of " +
                             std::to_string(kMaxHeaderBytes) + " bytes (not a safetensors file?)");
  }
  if (length > file.size() - 8) {
    throw std::runtime_error("header length " + std::to_string(length) + " does not fit the file of " +
                             std::to_string(file.size()) + " bytes (truncated?)");
  }
  return length;
}

std::vector<int64_t> row_major_strides(at::IntArrayRef shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * std::max<int64_t>(shape[i], 1);
  return strides;
}

// One header entry becomes a tensor; `expected` is where the one before it ended.
MappedTensor place(const HeaderEntry& entry, const std::shared_ptr<const MappedFile>& file,
                   uint64_t data_start, uint64_t expected) {
  const uint64_t begin = entry.offsets[0], end = entry.offsets[1], available = file->size() - data_start;
  const std::string range = "data_offsets [" + std::to_string(begin) + ", " + std::to_string(end) + "]";
  if (begin > end) throw std::runtime_error(range + " run backwards");
  if (end > available) {
    throw std::runtime_error(range + " end beyond the " + std::to_string(available) +
                             " data bytes of the file (truncated?)");
  }
  if (begin != expected) {
    throw std::runtime_error(range + (begin < expected ? " overlap" : " leave a hole after") +
                             " the tensor before, which ends at " + std::to_string(expected));
  }
  MappedTensor tensor{file, data_start + begin, dtype_from_name(entry.dtype), entry.shape, {}};
  uint64_t bytes = static_cast<uint64_t>(checked_elements(entry.shape));
  if (__builtin_mul_overflow(bytes, c10::elementSize(tensor.dtype), &bytes) || bytes != end - begin) {
    throw std::runtime_error("shape " + shape_text(entry.shape) + " of " + entry.dtype +
                             " does not take the " + std::to_string(end - begin) + " bytes of " + range);
  }
  tensor.strides = row_major_strides(entry.shape);
  return tensor;
}

TensorFile read(const std::shared_ptr<const MappedFile>& file) {
  const uint64_t length = header_length(*file);
  HeaderReader header = parse_header(file->bytes(8, length));
  auto& entries = header.entries;
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.offsets < b.offsets; });

  TensorFile result;
  result.metadata = std::move(header.metadata);
  uint64_t expected = 0;
  for (const HeaderEntry& entry : entries) {
    try {
      result.tensors.push_back({entry.name, place(entry, file, 8 + length, expected)});
    } catch (const std::runtime_error& error) {
      throw std::runtime_error(in_quotes(entry.name) + ": " + error.what());
    }
    expected = entry.offsets[1];
  }
  if (expected != file->size() - 8 - length) {
    throw std::runtime_error("the tensors end at data byte " + std::to_string(expected) + ", the file at " +
                             std::to_string(file->size() - 8 - length));
  }
  return result;
}

}  // namespace safetensors_detail

TensorFile read_safetensors(const std::shared_ptr<const MappedFile>& file) {
  try {
    return safetensors_detail::read(file);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(file->path().string() + ": bad safetensors file: " + error.what());
  }
}

}  // namespace zoo::weights
