#include "app/engine/output_folder.h"

#include <unistd.h>

#include <string>
#include <system_error>

#include "app/cli.h"

namespace zoo::app {
namespace fs = std::filesystem;

OutputFolder::OutputFolder(const fs::path& target, bool overwrite) {
  target_ = fs::absolute(target).lexically_normal();
  if (!target_.has_filename()) target_ = target_.parent_path();  // "runs/" -> "runs"
  std::error_code error;
  if (fs::exists(target_, error)) {
    if (!fs::is_directory(target_)) throw UsageError(target.string() + ": is a file; --out names a folder");
    if (!fs::is_empty(target_)) {
      if (!overwrite) throw UsageError(target.string() + ": is not empty (name another folder, or replace it with --overwrite)");
      if (!fs::exists(target_ / "config.json")) {
        throw UsageError(target.string() + ": holds other files than a checkpoint (no config.json), which --overwrite does not remove; name another folder");
      }
    }
  }
  fs::create_directories(target_.parent_path(), error);
  working_ = target_.parent_path() / (target_.filename().string() + ".partial-" + std::to_string(getpid()));
  fs::remove_all(working_, error);
  if (!fs::create_directory(working_, error) || error) {
    throw std::runtime_error(working_.string() + ": cannot be made (" + error.message() + ")");
  }
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!done_ && !kept_) fs::remove_all(working_, ignored);
}

void OutputFolder::commit() {
  const fs::path old = working_.string() + ".old";
  const bool replaces = fs::exists(target_);
  if (replaces) fs::rename(target_, old);
  fs::rename(working_, target_);
  done_ = true;
  std::error_code ignored;
  if (replaces) fs::remove_all(old, ignored);
}

}  // namespace zoo::app
