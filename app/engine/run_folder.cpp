#include "app/engine/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <string>
#include <system_error>

#include "app/cli.h"
#include "app/files.h"

namespace zoo::app {
namespace fs = std::filesystem;

bool RunFolder::begun(const fs::path& path) { return on_disk(path / "recipe.json"); }
bool RunFolder::finished(const fs::path& path) { return begun(path) && on_disk(path / "results.json"); }

RunFolder::RunFolder(const fs::path& path, Start start) {
  path_ = fs::absolute(path).lexically_normal();
  if (!path_.has_filename()) path_ = path_.parent_path();  // "runs/" -> "runs"
  replaced_ = path_.string() + ".replaced";
  std::error_code error;
  const bool there = fs::exists(path_, error);
  if (there && !fs::is_directory(path_)) throw UsageError(path.string() + ": is a file; --out names a folder");
  const bool empty = !there || fs::is_empty(path_, error);
  if (!empty && start == Start::fresh) {
    if (begun(path_) && !finished(path_)) {
      throw UsageError(path.string() + ": is not empty: it holds an unfinished training (go on with --resume " + path.string() +
                       ", or begin again with --overwrite)");
    }
    throw UsageError(path.string() + ": is not empty (name another folder, or replace it with --overwrite)");
  }
  if (there) lock();
  if (!empty && start == Start::overwrite) set_aside();
  made_ = !fs::exists(path_);
  fs::create_directories(path_, error);
  if (error) throw std::runtime_error(path_.string() + ": cannot be made (" + error.message() + ")");
  if (made_) lock();
  kept_ = start == Start::resume && !empty;
}

void RunFolder::set_aside() {
  if (!on_disk(path_ / "config.json") && !begun(path_)) {
    throw UsageError(path_.string() + ": holds other files than a checkpoint (no config.json), which --overwrite does not remove; name another folder");
  }
  // A folder set aside earlier is still waiting for its replacement: this one was none.
  if (on_disk(replaced_)) remove_tree(path_);
  else fs::rename(path_, replaced_);
}

// The lock is the folder's own: it needs no file, and ends with the process however that ends.
void RunFolder::lock() {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor_ >= 0 && ::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    throw UsageError(path_.string() + ": another training is writing there");
  }
}

RunFolder::~RunFolder() {
  std::error_code ignored;
  if (!kept_) {
    if (made_) remove_tree(path_, ignored);
    if (on_disk(replaced_) && !on_disk(path_)) fs::rename(replaced_, path_, ignored);
  }
  if (descriptor_ >= 0) ::close(descriptor_);
}

void RunFolder::finish() {
  kept_ = true;
  std::error_code ignored;
  remove_tree(replaced_, ignored);
}

}  // namespace zoo::app
