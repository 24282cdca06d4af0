// app/files.h's remove_tree() without what that header brings: some tests must see Catch before LibTorch.
#pragma once
#include <filesystem>
#include <system_error>

namespace zoo::app {

void remove_tree(const std::filesystem::path& path, std::error_code& error);

}  // namespace zoo::app
