#!/bin/bash
# The demo: a real checkpoint at work, a network trained and used, and the table of proofs. From nothing at most 25 minutes on
# 2 cores, of which building is the most.
source "$(dirname "$0")/lib.sh"

heading() {
  if [ -t 1 ]; then printf '\n\033[1m== %s\033[0m\n\n' "$*"; else printf '\n== %s\n\n' "$*"; fi
}
# Shows a command as a user would type it, then runs it.
run() { printf '$ %s\n' "$*"; "$@"; }

start=$EPOCHREALTIME
tools/build.sh zoo
minilm=$(tools/fetch_minilm.sh)
zoo=$build/zoo
demo=$build/demo
mkdir -p "$demo"

heading "1. A published checkpoint: all-MiniLM-L6-v2, as it comes from Hugging Face"
run "$zoo" info "$minilm"

heading "   Record linkage: the short names of countries against their official names (ISO 3166)"
# The same countries in two tables; the shared code alpha_3 is the truth, which the linkage does not see.
countries=/usr/share/iso-codes/json/iso_3166-1.json
named='."3166-1"[] | select(.official_name)'
jq -r "(\"alpha_3,name\"), ($named | [.alpha_3, .name] | @csv)" "$countries" > "$demo/left.csv"
jq -r "(\"alpha_3,official_name\"), ($named | [.alpha_3, .official_name] | @csv)" "$countries" > "$demo/right.csv"
run "$zoo" run "$minilm" --task linkage --left "$demo/left.csv" --right "$demo/right.csv" --left-on name --right-on official_name \
  --truth alpha_3 --out "$demo/matched.csv" --overwrite
echo "the first matches ($demo/matched.csv):"
head -6 "$demo/matched.csv"

heading "2. A network trained here: Compact Transformer (CCT) on Fashion-MNIST"
run "$zoo" train recipes/fashion_mnist_cct.json --out "$demo/cct" --overwrite
run "$zoo" eval "$demo/cct" --task image_classification --data /usr/share/datasets/fashion-mnist

heading "   Its checkpoint on a picture file (one of the worst mistakes in the report)"
picture=$(find "$demo/cct/report" -name '*.png' | sort | head -1)
[ -n "$picture" ] || fail "the report of the training run holds no picture (looked in $demo/cct/report)"
run "$zoo" run "$demo/cct" "$picture"

heading "3. The proofs: every network against its reference"
run "$zoo" verify --all
run "$zoo" verify --fixture tests/fixtures/checkpoints/minilm.safetensors --weights "$minilm"  # the full checkpoint, real sentences

heading "Done in $(elapsed "$start") s. The report with curves, confusion matrix and worst mistakes: $repository/$demo/cct/report.html"
