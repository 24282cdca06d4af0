#!/bin/bash
# Finds LibTorch, or fetches it, and prints its folder (which holds include/ and lib/) as the last line. In this order:
#   1. the folder that TORCH or ZOO_TORCH names;
#   2. the one this build folder was configured with, while it is there;
#   3. an installed PyTorch 2.11 to 2.13;
#   4. the wheel torch==2.13.0, unpacked under .deps/: the CUDA build if CUDA=1 or there is an NVIDIA driver, else a CPU build if pip
#      offers one. CUDA=0 does not look for the driver.
# Wheels come from wherever the user's pip is configured to look.
source "$(dirname "$0")/lib.sh"

readonly version=2.13.0
readonly platform=manylinux_2_28_$(uname -m)
cuda=${CUDA:-}

is_libtorch() { [ -f "$1/include/torch/csrc/api/include/torch/nn/module.h" ] && [ -f "$1/lib/libtorch_cpu.so" ]; }
has_cuda() { [ -f "$1/lib/libtorch_cuda.so" ]; }
# A CPU build will not do when CUDA was asked for.
suits() { is_libtorch "$1" && { [ "$cuda" != 1 ] || has_cuda "$1"; }; }

named_by_user() {
  local folder=${TORCH:-${ZOO_TORCH:-}}
  [ -n "$folder" ] || return 1
  # Also the folder above, as in an unpacked archive or a site-packages folder.
  for folder in "$folder" "$folder/torch" "$folder/libtorch"; do
    if is_libtorch "$folder"; then realpath "$folder"; return; fi
  done
  fail "TORCH=${TORCH:-$ZOO_TORCH} holds no LibTorch: expected include/torch/csrc/api and lib/libtorch_cpu.so there"
}

configured_before() {
  local folder
  folder=$(sed -n 's/^ZOO_TORCH:[A-Z]*=//p' "$build/CMakeCache.txt" 2> /dev/null) || return 1
  [ -n "$folder" ] && suits "$folder" && echo "$folder"
}

# Reads torch/version.py without importing torch, which would take seconds.
installed_pytorch() {
  command -v python3 > /dev/null || return 1
  local folder found
  folder=$(python3 -c 'import importlib.util as u, os; s = u.find_spec("torch"); print(os.path.dirname(s.origin) if s and s.origin else "")' 2> /dev/null) || return 1
  [ -n "$folder" ] || return 1
  found=$(sed -n "s/^__version__ = '\([0-9]*\.[0-9]*\).*/\1/p" "$folder/version.py" 2> /dev/null) || return 1
  case $found in 2.11 | 2.12 | 2.13) ;; *) return 1 ;; esac
  suits "$folder" && echo "$folder"
}

# The wheels to ask for, best first. "===" takes the plain version alone, which is the CUDA build; "==" any build of it.
wanted_wheels() {
  if [ "$cuda" = 1 ]; then
    echo "torch===$version"
  elif [ -z "$cuda" ] && [ -e /proc/driver/nvidia/version ]; then
    echo "torch===$version torch==$version"
  else
    echo "torch==$version+cpu torch==$version"
  fi
}

# download FOLDER REQUIREMENT...: the first that pip offers, for this Python or else for another: nothing of a wheel is imported, so
# any will do.
download() {
  local folder=$1 python requirement minor log=$1/pip.log
  shift
  python=$(find_pip)
  local pip=("$python" -m pip download --no-input --no-deps --only-binary=:all: -d "$folder")
  for requirement in "$@"; do
    "${pip[@]}" "$requirement" > "$log" 2>&1 && return
    for minor in 11 12 13 10; do
      "${pip[@]}" --implementation cp --python-version 3.$minor --platform "$platform" "$requirement" > "$log" 2>&1 && return
    done
  done
  tail -5 "$log" >&2
  return 1
}

fetch_torch() {
  local folder=$1 wheel
  # shellcheck disable=SC2046 # a list of words
  download "$folder" $(wanted_wheels) || {
    echo "pip offers no wheel $(wanted_wheels | sed 's/ / or /') for $platform: check its configuration, install PyTorch 2.11 to 2.13, or name" \
         "a folder that holds LibTorch (make TORCH=/path)" >&2
    return 1
  }
  wheel=$(echo "$folder"/torch-*.whl)
  unzip -q "$wheel" 'torch/include/*' 'torch/lib/*' 'torch/version.py' '*.dist-info/METADATA' '*.dist-info/licenses/*' -d "$folder" &&
    rm "$wheel" "$folder/pip.log" && fetch_cuda_libraries "$folder"
}

# A CUDA build links to libraries that its metadata names, as nvidia-* wheels and since 2.11 through cuda-toolkit[...]. They unpack
# into nvidia/*/lib beside torch/, where its own run-time search path expects them. (A CPU build names none.)
fetch_cuda_libraries() {
  local folder=$1 requirements python
  # shellcheck disable=SC2207 # one requirement a line, no spaces inside
  requirements=($(tools/cuda_requirements.sh "$folder"/torch-*.dist-info/METADATA))
  [ ${#requirements[@]} -gt 0 ] || return 0
  echo "    and its CUDA libraries: ${requirements[*]}"
  python=$(find_pip)
  mkdir "$folder/wheels"
  "$python" -m pip download -q --no-input --only-binary=:all: -d "$folder/wheels" "${requirements[@]}" || return 1
  local wheel
  for wheel in "$folder"/wheels/nvidia_*.whl; do
    unzip -qo "$wheel" 'nvidia/*' -d "$folder" || return 1
  done
  rm -r "$folder/wheels"
}

fetched() {
  local folder=.deps/torch-$version other=.deps/torch-$version-cuda
  if suits "$repository/$folder/torch"; then echo "$repository/$folder/torch"; return; fi
  if suits "$repository/$other/torch"; then echo "$repository/$other/torch"; return; fi
  [ "$cuda" != 1 ] || folder=$other
  # On standard error: standard output is the answer.
  step "fetching LibTorch: the wheel torch==$version into $folder" fetch_into "$repository/$folder" fetch_torch >&2
  suits "$repository/$folder/torch" || fail "the wheel torch==$version is not a LibTorch$([ "$cuda" != 1 ] || echo ' with CUDA')"
  echo "$repository/$folder/torch"
}

if [ -n "${TORCH:-${ZOO_TORCH:-}}" ]; then
  named_by_user
else
  configured_before || installed_pytorch || fetched
fi
