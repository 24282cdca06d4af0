// RunFolder: the folder of one training, alive while it runs.
//
//   recipe.json  log.jsonl                what was asked, what happened
//   config.json  model.safetensors ...    the best network so far: a checkpoint that can be used at any time
//   checkpoints/step-00000120/            what the run needs to go on (app/engine/checkpoints.h)
//   results.json  report.html             when it is finished
//
// Every file in it appears complete or not at all, so a run that was killed leaves nothing broken.
#pragma once
#include <filesystem>

namespace zoo::app {

class RunFolder {
 public:
  enum class Start { fresh, overwrite, resume };

  // fresh: the folder must be absent or empty. overwrite: an earlier run or checkpoint (it holds config.json or recipe.json,
  // nothing else is replaced) is set aside as NAME.replaced until finish(). resume: an earlier run's folder goes on, or a
  // new one begins where there is none. A folder is used by one training at a time. Throws UsageError.
  RunFolder(const std::filesystem::path& path, Start start);
  // Without keep() or finish(): a folder that this object made vanishes again, and what it replaced comes back.
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void keep() { kept_ = true; }  // something in it is worth having, even after a failure
  void finish();                 // what it replaced is removed

  // Whether a training was begun, or carried out to its end, there.
  static bool begun(const std::filesystem::path& path);
  static bool finished(const std::filesystem::path& path);

 private:
  void set_aside();
  void lock();
  std::filesystem::path path_, replaced_;
  int descriptor_ = -1;
  bool made_ = false, kept_ = false;
};

}  // namespace zoo::app
