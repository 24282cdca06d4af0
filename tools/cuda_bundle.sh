#!/bin/bash
# cuda_bundle.sh FOLDER: what zoo's build needs beside a CUDA LibTorch, for a machine without a package registry: the sources, and headers and small
# libraries of the system packages here (tools/packages.txt; without OpenCV, whose picture files bring 137 libraries). Copy FOLDER there and run
#   FOLDER/build.sh TORCH [BUILD [TARGET...]]
# with the folder of LibTorch (or of an installed torch package). It needs there: a compiler as new as here, CMake, Ninja, CUDA's headers. Where the
# compiler's own choice is to link the C++ library statically, name another by CXX: std::filesystem would crash (cmake/libtorch.cmake).
source "$(dirname "$0")/lib.sh"

[ $# -eq 1 ] || fail "usage: tools/cuda_bundle.sh FOLDER"
case $1 in /*) folder=$1 ;; *) folder=$OLDPWD/$1 ;; esac
readonly packages=(nlohmann-json3-dev libcli11-dev libspdlog-dev libfmt-dev libutf8proc-dev libpcre2-dev libgloo-dev zlib1g-dev catch2 libsentencepiece-dev)

# Headers, CMake files and shared libraries of a package; a link with all that it stands for.
files_of() {
  local file
  dpkg -L "$1" | grep -E '^/usr/(include/.*\.[a-z]+$|(lib|share)/.*cmake/|lib/.*\.so$|lib/.*Catch2.*\.a$)' | while read -r file; do
    [ ! -f "$file" ] || echo "$file"
  done
}

# Under its own name, the one that the linker asks for and the one that programs ask for.
copy_library() {
  local real soname
  real=$(readlink -f "$1")
  soname=$(objdump -p "$real" | awk '$1 == "SONAME" { print $2 }')
  cp "$real" "$libraries/"
  ln -sf "$(basename "$real")" "$libraries/$(basename "$1")"
  [ "$soname" = "$(basename "$real")" ] || ln -sf "$(basename "$real")" "$libraries/$soname"
}

libraries=$folder/usr/lib/$(gcc -print-multiarch)
mkdir -p "$libraries"
for package in "${packages[@]}"; do
  dpkg -s "$package" > /dev/null 2>&1 || fail "the package $package is not installed (tools/packages.sh)"
  files_of "$package" | while read -r file; do
    if [[ $file == *.so ]]; then copy_library "$file"; else cp --parents -L "$file" "$folder"; fi
  done
done

mkdir -p "$folder/source"
git ls-files -co --exclude-standard | tar -c -T - | tar -x -C "$folder/source"
# A Catch2 of another major version there must not mix with this one.
[ -e "$folder/usr/include/catch2/catch_all.hpp" ] || sed -i 's/__has_include(<catch2\/catch_all.hpp>)/0/' "$folder"/source/tests/{catch.h,main.cpp}

cat > "$folder/build.sh" << 'END'
#!/bin/bash
# build.sh TORCH [BUILD [TARGET...]]: made by tools/cuda_bundle.sh
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
torch=$1 build=${2:-$here/build}
mkdir -p "$build"
cmake -S "$here/source" -B "$build" -G Ninja -DZOO_TORCH="$torch" -DZOO_IMAGES=OFF -DCMAKE_PREFIX_PATH="$here/usr" -DFMT_INCLUDE="$here/usr/include" \
  -DCMAKE_CXX_FLAGS="-isystem $here/usr/include" -DCMAKE_BUILD_RPATH="$(echo "$here"/usr/lib/*-linux-gnu)" > "$build/configure.log" 2>&1 || { tail -30 "$build/configure.log" >&2; exit 1; }
ninja -C "$build" "${@:3}"
END
chmod +x "$folder/build.sh"
echo "$folder: $(du -sh "$folder" | cut -f1)"
