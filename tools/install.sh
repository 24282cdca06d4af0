#!/bin/bash
# install.sh PREFIX: builds, then installs program, headers, libraries and CMake package.
source "$(dirname "$0")/lib.sh"

prefix=${1:?usage: install.sh PREFIX}
tools/build.sh zoo
step "installing into $prefix" cmake --install "$build" --prefix "$(realpath -m "$prefix")" > "$build/install.log"
torch=$(sed -n 's/^ZOO_TORCH:[A-Z]*=//p' "$build/CMakeCache.txt")
echo "==> installed: $prefix/bin/zoo, $prefix/include/zoo, $prefix/lib/cmake/zoo. It uses LibTorch in $torch: keep that folder."
