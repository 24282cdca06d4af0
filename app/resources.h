// Where the files lie that travel beside the program: parity fixtures, recipes, docs.
#pragma once
#include <filesystem>
#include <string>

namespace zoo::app {

// <folder of the program>/../share/zoo when installed, else the source tree it was built from. May be absent on disk: the
// program moved away from both.
std::filesystem::path resource_folder();
// "fixtures" (tests/fixtures in the source tree), "recipes", "docs": the folder, which may be absent.
std::filesystem::path resource(const std::string& name);
// A user's path if it exists, else recipes/<path> beside the program; returns the path unchanged when neither is there.
std::filesystem::path find_recipe(const std::filesystem::path& path);
// The running program.
std::filesystem::path program_path();

}  // namespace zoo::app
