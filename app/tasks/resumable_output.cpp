#include "app/tasks/resumable_output.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "app/cli.h"
#include "app/files.h"
#include "app/tasks/text_batches.h"
#include "weights/files.h"

namespace zoo::app {
namespace resumable_output_detail {

constexpr uint64_t kMaxRecord = uint64_t{64} << 20;
constexpr size_t kPendingBytes = size_t{1} << 20;

std::filesystem::path with_ending(std::filesystem::path path, const char* ending) { return path += ending; }

Json parsed(const std::string& line) {
  Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  return json.is_object() ? json : Json();
}

struct Record {
  Json settings;
  int64_t inputs = 0, bytes = 0;
  std::string sha256;
  size_t length = 0;  // of the record up to its last whole line
};

// Nothing when its first line is not whole. A torn last line is as if it were not there.
std::optional<Record> read_record(const std::filesystem::path& path) {
  if (!on_disk(path)) return std::nullopt;
  const std::string text = weights::read_text_file(path, kMaxRecord);
  Record record;
  for (size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', record.length)) {
    const Json line = parsed(text.substr(record.length, end - record.length));
    if (record.length == 0) {
      if (!line.contains("settings")) return std::nullopt;
      record.settings = line.at("settings");
    } else if (line.contains("inputs") && line.contains("bytes") && line.contains("sha256")) {
      record.inputs = line.at("inputs").get<int64_t>();
      record.bytes = line.at("bytes").get<int64_t>();
      record.sha256 = line.at("sha256").get<std::string>();
    }
    record.length = end + 1;
  }
  return record.length > 0 ? std::make_optional(record) : std::nullopt;
}

std::string shown(const Json& value) {
  const std::string text = value.is_null() ? "not given" : value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() > 100 ? text.substr(0, 100) + "..." : text;
}

}  // namespace resumable_output_detail

ResumableOutput::ResumableOutput(std::filesystem::path path, const Json& settings, bool resume, bool overwrite)
    : path_(std::move(path)), partial_(resumable_output_detail::with_ending(path_, ".partial")),
      state_(resumable_output_detail::with_ending(path_, ".partial.state")), start_(std::chrono::steady_clock::now()), recorded_(start_) {
  refuse_existing(path_, overwrite);
  const bool begun = on_disk(partial_);
  if (begun && !resume && !overwrite) {
    throw UsageError(partial_.string() + " is left of a run that did not end; --resume goes on with it, --overwrite begins anew");
  }
  file_ = ::open(partial_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0) fail(partial_, "opened");
  if (::flock(file_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) throw UsageError(partial_.string() + ": another run is writing it");
  record_ = ::open(state_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (record_ < 0) fail(state_, "opened");
  if (begun && resume) go_on(settings);
  else begin(settings);
}

ResumableOutput::~ResumableOutput() {
  std::error_code ignored;
  if (file_ >= 0 && !finished_ && inputs_ == 0) {  // a run that failed before its first result leaves nothing to go on with
    std::filesystem::remove(partial_, ignored);
    std::filesystem::remove(state_, ignored);
  }
  try {
    if (!finished_ && written_.inputs > recorded_inputs_) record();
  } catch (const std::exception&) {  // the last milestone stands
  }
  if (file_ >= 0) ::close(file_);
  if (record_ >= 0) ::close(record_);
}

void ResumableOutput::fail(const std::filesystem::path& name, const char* what) const {
  throw std::runtime_error(name.string() + ": cannot be " + what + ": " + std::strerror(errno));
}

void ResumableOutput::begin(const Json& settings) {
  if (::ftruncate(file_, 0) != 0) fail(partial_, "written");
  if (::ftruncate(record_, 0) != 0) fail(state_, "written");
  write(record_, state_, Json({{"settings", settings}}).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

void ResumableOutput::go_on(const Json& settings) {
  const auto record = resumable_output_detail::read_record(state_);
  if (!record) {
    if (std::filesystem::file_size(partial_) == 0) return begin(settings);  // killed before it had begun
    throw UsageError(state_.string() + ": is not the record of a run, so that " + partial_.string() + " cannot be continued (--overwrite begins anew)");
  }
  check_settings(record->settings, settings);
  const off_t there = ::lseek(file_, 0, SEEK_END);
  if (there < record->bytes) {
    throw UsageError(partial_.string() + ": has " + std::to_string(there) + " bytes; its record tells of " + std::to_string(record->bytes) +
                     " (it was changed; --overwrite begins anew)");
  }
  if (::ftruncate(file_, record->bytes) != 0) fail(partial_, "written");
  if (::ftruncate(record_, static_cast<off_t>(record->length)) != 0) fail(state_, "written");
  ::lseek(file_, 0, SEEK_END);
  ::lseek(record_, 0, SEEK_END);
  inputs_ = recorded_inputs_ = written_.inputs = record->inputs;
  written_.bytes = record->bytes;
  expected_ = record->sha256;
}

void ResumableOutput::check_settings(const Json& before, const Json& now) const {
  namespace d = resumable_output_detail;
  Json all = before;
  all.update(now);
  for (const auto& [key, ignored] : all.items()) {
    const Json old = before.contains(key) ? before.at(key) : Json(), given = now.contains(key) ? now.at(key) : Json();
    if (old == given) continue;
    throw UsageError(partial_.string() + " was begun with another " + key + ": " + d::shown(old) + ", now " + d::shown(given) +
                     " (give the same again, or begin anew with --overwrite)");
  }
}

void ResumableOutput::pass_over(const std::function<bool(std::string&)>& next) {
  std::string input;
  for (int64_t i = 0; i < inputs_; ++i) {
    if (!next(input)) {
      throw UsageError(partial_.string() + " holds the results of " + std::to_string(inputs_) + " inputs; now there are " + std::to_string(i) +
                       " (give the same input again, or begin anew with --overwrite)");
    }
    hash(input);
  }
  if (inputs_ > 0 && Sha256(hash_).hex() != expected_) {
    throw UsageError("the first " + std::to_string(inputs_) + " inputs are not those that " + partial_.string() +
                     " was begun with (give the same input again, or begin anew with --overwrite)");
  }
}

void ResumableOutput::add(std::string_view input, std::string_view text) {
  hash(input);
  pending_ += text;
  ++inputs_;
  if (pending_.size() >= resumable_output_detail::kPendingBytes) flush();
}

void ResumableOutput::hash(std::string_view input) {
  hash_.add(input);
  hash_.add(std::string_view("\n\0", 2));  // where one ends: no line holds this
}

void ResumableOutput::flush() {
  write(file_, partial_, pending_);
  written_ = {inputs_, written_.bytes + static_cast<int64_t>(pending_.size()), hash_};
  pending_.clear();
}

void ResumableOutput::record() {
  if (::fdatasync(file_) != 0 && errno != EINVAL && errno != EROFS) fail(partial_, "written");
  write(record_, state_, Json({{"inputs", written_.inputs}, {"bytes", written_.bytes}, {"sha256", Sha256(written_.hash).hex()}}).dump() + "\n");
  recorded_inputs_ = written_.inputs;
}

void ResumableOutput::milestone(bool now) {
  flush();
  const auto moment = std::chrono::steady_clock::now();
  const std::chrono::duration<double> since = moment - recorded_, total = moment - start_;
  if (!now && since.count() < std::max(0.2, total.count() / 500)) return;
  recorded_ = moment;
  record();
}

void ResumableOutput::finish(std::string_view end) {
  pending_ += end;
  flush();
  if (::fsync(file_) != 0 && errno != EINVAL && errno != EROFS) fail(partial_, "written");
  std::filesystem::rename(partial_, path_);
  finished_ = true;
  std::error_code ignored;
  std::filesystem::remove(state_, ignored);
}

void ResumableOutput::write(int file, const std::filesystem::path& name, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail(name, "written");
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace zoo::app
