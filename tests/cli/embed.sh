#!/bin/bash
# embed.sh SOURCE BUILD: installs BUILD into a temporary prefix, runs the installed program, and builds and runs examples/embed
# against the installed tree alone.
set -euo pipefail
source_folder=$1 build_folder=$2
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT

cmake --install "$build_folder" --prefix "$prefix/zoo" > "$prefix/install.log" || { cat "$prefix/install.log"; exit 1; }
"$prefix/zoo/bin/zoo" list bert > "$prefix/list.txt"
grep -q '^ *bert' "$prefix/list.txt" || { echo "the installed program does not list bert:"; cat "$prefix/list.txt"; exit 1; }

# Copied out of the source tree, so that nothing but the installed headers can be found.
cp -r "$source_folder/examples/embed" "$prefix/embed"
cmake -S "$prefix/embed" -B "$prefix/embed/build" -G Ninja -DCMAKE_PREFIX_PATH="$prefix/zoo" > "$prefix/configure.log" 2>&1 ||
  { cat "$prefix/configure.log"; exit 1; }
cmake --build "$prefix/embed/build" || exit 1

output=$("$prefix/embed/build/embed" bert:tiny)
echo "$output"
grep -qE '^hidden \[1, 8, [0-9]+\]$' <<< "$output" || { echo "expected a line such as: hidden [1, 8, 32]"; exit 1; }
if "$prefix/embed/build/embed" no_such_network 2> "$prefix/error.txt"; then echo "an unknown network was accepted"; exit 1; fi
grep -q no_such_network "$prefix/error.txt" || { echo "the error does not name the network:"; cat "$prefix/error.txt"; exit 1; }
