// TensorBoard event files: scalars, text and histograms that TensorBoard (and what reads its files) shows live.
// A file is a row of TFRecords (length, masked CRC-32C of it, payload, masked CRC-32C of that; tensorflow/core/lib/io/
// record_writer.h); a payload is an Event message (tensorflow/core/util/event.proto). The few fields that are needed are
// encoded here by hand: LibTorch exports a protobuf of its own, and a second one in the same process would clash with it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "models/model.h"

namespace zoo::app {

uint32_t crc32c(std::string_view bytes);         // Castagnoli, RFC 3720 appendix B.4
uint32_t masked_crc32c(std::string_view bytes);  // rotated by 15 bits plus 0xa282ead8, as TFRecord wants it
std::string tf_record(std::string_view payload);

class EventWriter {
 public:
  // Opens a new file in `folder` (made if need be) whose name sorts behind those that are there, for TensorBoard reads the
  // files of a folder in the order of their names and takes them as one run. With `purge_step` TensorBoard forgets what the
  // earlier files say of that step and all later ones: a resumed training whose next step is N passes N, and each curve stays one
  // clean line however the training before it ended. Throws std::runtime_error when the file cannot be written.
  explicit EventWriter(const std::filesystem::path& folder, std::optional<int64_t> purge_step = std::nullopt);

  void scalar(const std::string& tag, int64_t step, double value);  // stored as float32; may be infinite or NaN
  // Every number of a JSON object, objects in it by their path: {"test": {"mse": 1}} gives prefix/test/mse.
  void scalars(const std::string& prefix, int64_t step, const Json& figures);
  void text(const std::string& tag, int64_t step, const std::string& markdown);
  // 30 buckets of equal width between the least and the greatest value; values that are not finite are left out.
  void histogram(const std::string& tag, int64_t step, std::span<const double> values);
  // What was written reaches the file. Throws std::runtime_error (a full disk); the destructor flushes and does not.
  void flush();
  const std::filesystem::path& path() const { return path_; }

 private:
  void write(std::string_view event);
  void write_value(int64_t step, std::string_view value);
  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace zoo::app
