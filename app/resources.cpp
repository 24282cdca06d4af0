#include "app/resources.h"

namespace zoo::app {
namespace fs = std::filesystem;

fs::path program_path() {
  std::error_code error;
  const fs::path path = fs::read_symlink("/proc/self/exe", error);
  return error ? fs::path("zoo") : path;
}

fs::path resource_folder() {
  const fs::path installed = program_path().parent_path().parent_path() / "share" / "zoo";
  std::error_code error;
  return fs::is_directory(installed, error) ? installed : fs::path(ZOO_SOURCE_DIR);
}

fs::path resource(const std::string& name) {
  const fs::path folder = resource_folder();
  std::error_code error;
  const fs::path source_layout = folder / "tests" / name;
  return name == "fixtures" && fs::is_directory(source_layout, error) ? source_layout : folder / name;
}

fs::path find_recipe(const fs::path& path) {
  std::error_code error;
  if (path.is_absolute() || fs::exists(path, error)) return path;
  const fs::path recipes = resource("recipes");
  for (const fs::path& candidate : {recipes / path, recipes / (path.string() + ".json")}) {
    if (fs::exists(candidate, error)) return candidate;
  }
  return path;
}

}  // namespace zoo::app
