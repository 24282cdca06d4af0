// OutputFolder: a folder that appears under its name complete or not at all.
#pragma once
#include <filesystem>

namespace zoo::app {

class OutputFolder {
 public:
  // Makes a working folder beside `target`. A target that is there and not empty is refused without `overwrite`; with it,
  // only what an earlier training or save has written (it holds config.json) will be replaced. Throws UsageError.
  OutputFolder(const std::filesystem::path& target, bool overwrite);
  ~OutputFolder();  // without commit(): removes the working folder, unless keep() was called
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& working() const { return working_; }
  const std::filesystem::path& target() const { return target_; }
  void keep() { kept_ = true; }  // something in it is worth having, even after a failure
  void commit();                 // renames; an earlier folder of that name is removed after the new one is in place

 private:
  std::filesystem::path target_, working_;
  bool kept_ = false, done_ = false;
};

}  // namespace zoo::app
