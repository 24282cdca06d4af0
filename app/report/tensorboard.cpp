#include "app/report/tensorboard.h"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <vector>

namespace zoo::app {
namespace tensorboard_detail {
namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "events.out.tfevents.";

constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ 0x82F63B78u : crc >> 1;
    table[i] = crc;
  }
  return table;
}

std::string little_endian(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> 8 * i & 255);
  return text;
}

// ---- protobuf's wire format: a field is its number and kind, then a varint, eight or four bytes, or a length and bytes ----

std::string varint(uint64_t value) {
  std::string text;
  for (; value >= 128; value >>= 7) text += static_cast<char>((value & 127) | 128);
  return text + static_cast<char>(value);
}

std::string field(int number, int kind) { return varint(static_cast<uint64_t>(number << 3 | kind)); }
std::string integer(int number, int64_t value) { return field(number, 0) + varint(static_cast<uint64_t>(value)); }
std::string real(int number, double value) { return field(number, 1) + little_endian(std::bit_cast<uint64_t>(value), 8); }
std::string real32(int number, float value) { return field(number, 5) + little_endian(std::bit_cast<uint32_t>(value), 4); }
std::string bytes(int number, std::string_view value) { return field(number, 2) + varint(value.size()) + std::string(value); }
std::string packed(int number, const std::vector<double>& values) {
  std::string text;
  for (const double value : values) text += little_endian(std::bit_cast<uint64_t>(value), 8);
  return bytes(number, text);
}

// event.proto and summary.proto: Event, Summary.Value, SummaryMetadata, TensorProto, HistogramProto, SessionLog.
std::string event(int64_t step, std::string_view content) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return real(1, std::chrono::duration<double>(now).count()) + integer(2, step) + std::string(content);
}

std::string file_version() { return bytes(3, "brain.Event:2"); }
std::string session_start() { return bytes(7, integer(1, 1)); }

std::string text_value(const std::string& tag, const std::string& markdown) {
  const std::string metadata = bytes(1, bytes(1, "text"));                             // SummaryMetadata.plugin_data.plugin_name
  const std::string shape = bytes(2, bytes(2, integer(1, 1)));                         // one axis of one element
  const std::string tensor = integer(1, 7 /* DT_STRING */) + shape + bytes(8, markdown);
  return bytes(1, tag + "/text_summary") + bytes(9, metadata) + bytes(8, tensor);
}

std::string histogram_message(const std::vector<double>& values) {
  constexpr int kBuckets = 30;
  const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
  const double low = *least, high = *greatest, width = high > low ? (high - low) / kBuckets : 1.0;
  std::vector<double> limits, counts(kBuckets, 0.0);
  for (int i = 1; i <= kBuckets; ++i) limits.push_back(low + width * i);
  double sum = 0, squares = 0;
  for (const double value : values) {
    counts[std::min<size_t>(kBuckets - 1, static_cast<size_t>((value - low) / width))] += 1;
    sum += value;
    squares += value * value;
  }
  return real(1, low) + real(2, high) + real(3, static_cast<double>(values.size())) + real(4, sum) + real(5, squares) +
         packed(6, limits) + packed(7, counts);
}

// Ten digits of seconds, so that names sort as times do, and later than every file that is there: clocks may be set back.
fs::path next_file(const fs::path& folder) {
  int64_t seconds = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  for (const auto& item : fs::directory_iterator(folder)) {
    const std::string name = item.path().filename().string();
    if (name.starts_with(kPrefix)) seconds = std::max<int64_t>(seconds, std::strtoll(name.c_str() + kPrefix.size(), nullptr, 10) % 9'999'999'999 + 1);
  }
  const std::string digits = std::to_string(seconds);
  return folder / (std::string(kPrefix) + std::string(digits.size() < 10 ? 10 - digits.size() : 0, '0') + digits + ".zoo");
}

}  // namespace tensorboard_detail

uint32_t crc32c(std::string_view bytes) {
  static constexpr auto kTable = tensorboard_detail::crc_table();
  uint32_t crc = ~0u;
  for (const unsigned char byte : bytes) crc = kTable[(crc ^ byte) & 255] ^ crc >> 8;
  return ~crc;
}

uint32_t masked_crc32c(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8u; }

std::string tf_record(std::string_view payload) {
  using tensorboard_detail::little_endian;
  const std::string length = little_endian(payload.size(), 8);
  return length + little_endian(masked_crc32c(length), 4) + std::string(payload) + little_endian(masked_crc32c(payload), 4);
}

EventWriter::EventWriter(const std::filesystem::path& folder, std::optional<int64_t> purge_step) {
  namespace d = tensorboard_detail;
  std::filesystem::create_directories(folder);
  path_ = d::next_file(folder);
  file_.open(path_, std::ios::binary);
  write(d::event(0, d::file_version()));
  // A start of a session is how TensorBoard learns of a restart: it drops what it holds of this step and later ones.
  if (purge_step) write(d::event(*purge_step, d::session_start()));
  flush();
}

void EventWriter::write(std::string_view event) {
  const std::string record = tf_record(event);
  file_.write(record.data(), static_cast<std::streamsize>(record.size()));
  if (!file_) throw std::runtime_error(path_.string() + ": writing failed (is the disk full?)");
}

void EventWriter::write_value(int64_t step, std::string_view value) {
  namespace d = tensorboard_detail;
  write(d::event(step, d::bytes(5, d::bytes(1, value))));
}

void EventWriter::scalar(const std::string& tag, int64_t step, double value) {
  namespace d = tensorboard_detail;
  write_value(step, d::bytes(1, tag) + d::real32(2, static_cast<float>(value)));
}

void EventWriter::scalars(const std::string& prefix, int64_t step, const Json& figures) {
  if (!figures.is_object()) return;
  for (const auto& [name, value] : figures.items()) {
    if (value.is_number()) scalar(prefix + "/" + name, step, value.get<double>());
    else scalars(prefix + "/" + name, step, value);
  }
}

void EventWriter::text(const std::string& tag, int64_t step, const std::string& markdown) {
  write_value(step, tensorboard_detail::text_value(tag, markdown));
}

void EventWriter::histogram(const std::string& tag, int64_t step, std::span<const double> values) {
  namespace d = tensorboard_detail;
  std::vector<double> finite;
  std::copy_if(values.begin(), values.end(), std::back_inserter(finite), [](double value) { return std::isfinite(value); });
  if (!finite.empty()) write_value(step, d::bytes(1, tag) + d::bytes(5, d::histogram_message(finite)));
}

void EventWriter::flush() {
  if (!file_.flush()) throw std::runtime_error(path_.string() + ": writing failed (is the disk full?)");
}

}  // namespace zoo::app
