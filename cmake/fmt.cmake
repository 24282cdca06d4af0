# LibTorch ships fmt 12, which would shadow the system's fmt under the system's spdlog: this folder, holding only the
# system's, stands before it on the include path.
add_library(zoo_fmt INTERFACE)
find_path(FMT_INCLUDE fmt/core.h PATHS /usr/include NO_DEFAULT_PATH REQUIRED)
file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/fmt_shim")
file(CREATE_LINK "${FMT_INCLUDE}/fmt" "${CMAKE_BINARY_DIR}/fmt_shim/fmt" SYMBOLIC)
target_include_directories(zoo_fmt BEFORE INTERFACE "${CMAKE_BINARY_DIR}/fmt_shim")
