// Runs the real executable and looks at what comes out.
#pragma once
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "tests/removal.h"

namespace zoo::test {

struct Outcome {
  int code = -1;
  std::string out, err;
  nlohmann::json json() const { return nlohmann::json::parse(out); }  // throws unless `out` is exactly one document
};

inline std::string file_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// A folder that disappears with the object.
class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "zoo-cli-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("no temporary folder: " + name);
    path_ = name;
  }
  ~Scratch() {
    std::error_code error;
    app::remove_tree(path_, error);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  std::filesystem::path path() const { return path_; }
  std::filesystem::path write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

// A path as a shell's word.
inline std::string quoted(const std::filesystem::path& path) { return "'" + path.string() + "'"; }

// ZOO_DATA and ZOO_MODEL steer tests, but are also the environment of --data and --model.
inline constexpr const char* kWithoutTestVariables = "unset ZOO_DATA ZOO_MODEL; ";

// `arguments` as a shell would read them; `before` stands in front of the program ("ZOO_SEED=7 ", "printf x | ").
inline Outcome zoo_program(const std::string& arguments, const std::string& before = "") {
  const Scratch scratch;
  const auto err = scratch / "err", out = scratch / "out";
  const std::string command = kWithoutTestVariables + before + " " ZOO_PROGRAM " " + arguments + " > '" + out.string() + "' 2> '" + err.string() + "'";
  const int status = std::system(command.c_str());
  Outcome outcome;
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome.out = file_text(out);
  outcome.err = file_text(err);
  return outcome;
}

// Starts a training whose folder is `out` and kills it with kill -9 when its first checkpoint is there. Returns what std::system does.
inline int start_and_kill(const std::string& arguments, const std::filesystem::path& out) {
  const std::string checkpoints = quoted(out) + "/checkpoints/step-*[0-9]";
  const std::string command = kWithoutTestVariables + std::string(ZOO_PROGRAM " ") + arguments + " --out " + quoted(out) + " > /dev/null 2>&1 & pid=$!; " +
                              "until ls -d " + checkpoints + " > /dev/null 2>&1; do sleep 0.02; kill -0 $pid || break; done; kill -9 $pid; wait $pid";
  return std::system(("( " + command + " ) 2> /dev/null").c_str());
}

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// What the exception says that `action` throws; "" when it throws none.
inline std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace zoo::test
