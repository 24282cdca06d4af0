#!/bin/bash
# build.sh [TARGET...]: system packages, LibTorch, configure, compile. What is done already is not done again.
source "$(dirname "$0")/lib.sh"

targets=("${@:-zoo}")
tools/packages.sh
torch=$(tools/libtorch.sh)

# The configuration is redone when one of its inputs changes; a change of CMake files is Ninja's own business.
inputs="$repository|$torch|${CMAKE_ARGS:-}"
configure() {
  # shellcheck disable=SC2086 # CMAKE_ARGS is a list of words
  cmake -S . -B "$build" -G Ninja -DZOO_TORCH="$torch" ${CMAKE_ARGS:-} > "$build/configure.log" 2>&1 ||
    { tail -30 "$build/configure.log" >&2; return 1; }
  echo "$inputs" > "$build/configure.inputs"
}
mkdir -p "$build"
if [ ! -f "$build/build.ninja" ] || [ "$(cat "$build/configure.inputs" 2> /dev/null)" != "$inputs" ]; then
  # A build folder that was copied or moved here still points at its first place.
  if [ -f "$build/CMakeCache.txt" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$repository" "$build/CMakeCache.txt"; then
    rm -rf "$build/CMakeCache.txt" "$build/CMakeFiles"
  fi
  step "configuring with LibTorch in $torch" configure
fi
step "building ${targets[*]}" ninja -C "$build" "${targets[@]}"
