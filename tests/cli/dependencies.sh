#!/bin/bash
# dependencies.sh SOURCE: the dependency rule of docs/architecture.md. models, data, tokenizers, metrics and weights include their own folder,
# the standard library, LibTorch, nlohmann/json and the one third-party library that is theirs; only app/ sees them all.
set -uo pipefail

# violations ROOT: each forbidden include as file:line:text.
violations() {
  cd "$1" || exit 2
  local folder
  for folder in models data tokenizers metrics weights; do
    [ -d "$folder" ] || continue
    # A quoted include is written from the repository root and stays in its folder.
    grep -rnE --include='*.h' --include='*.cpp' '^ *# *include *"' "$folder" | grep -vE "include *\"$folder/"
  done
  # Each third-party library has one home.
  grep -rnE --include='*.h' --include='*.cpp' '^ *# *include *<(spdlog|fmt|CLI)/' models data tokenizers metrics weights
  grep -rnE --include='*.h' --include='*.cpp' '^ *# *include *<opencv' app models tokenizers metrics weights
  grep -rnE --include='*.h' --include='*.cpp' '^ *# *include *<(utf8proc|pcre2)' app models data weights
  grep -rnE --include='*.h' --include='*.cpp' '^ *# *include *<sentencepiece' app models data metrics weights
  grep -rnE --include='*.h' --include='*.cpp' '^ *# *include *<(pcre2|torch/|ATen/)' metrics
  # The whole of LibTorch's C++ frontend costs half a minute for each file.
  grep -rnE --include='*.h' --include='*.cpp' '^ *# *include *<torch/(torch|extension|nn/functional|all|nn)\.h>' app models data tokenizers weights
  # LibTorch 2.11 for CUDA exports one of its own, which calls address 0: remove_tree() of app/files.h.
  grep -rnE --include='*.h' --include='*.cpp' '(fs|filesystem)::remove_all *\(' app models data tokenizers metrics weights tests
  return 0
}

found=$(violations "$1" 2> /dev/null)
if [ -n "$found" ]; then
  echo "these lines break the dependency rule (docs/architecture.md), or call what must not be called:"
  echo "$found"
  exit 1
fi

# The check itself: each kind of breach, planted, must be found.
planted=$(mktemp -d)
trap 'rm -rf "$planted"' EXIT
mkdir "$planted"/{app,models,data,tokenizers,metrics,weights}
echo '#include "weights/checkpoint.h"' > "$planted/models/a.cpp"
echo '#include <spdlog/spdlog.h>' > "$planted/data/b.h"
echo '#include <opencv2/core.hpp>' > "$planted/app/c.cpp"
echo '#include <torch/torch.h>' > "$planted/app/d.cpp"
echo 'std::filesystem::remove_all(path);' > "$planted/app/e.cpp"
echo '#include "tokenizers/tokenizer.h"' > "$planted/tokenizers/fine.cpp"
count=$(violations "$planted" 2> /dev/null | wc -l)
[ "$count" -eq 5 ] || { echo "the check found $count of 5 planted breaches:"; violations "$planted"; exit 1; }
echo "no include breaks the dependency rule"
