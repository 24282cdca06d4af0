#!/bin/bash
# make bench-peers: zoo beside transformers, ONNX Runtime, OpenVINO and CTranslate2 (tests/bench/peers). The peers live in a Python
# environment of their own under the build folder; nothing of them becomes part of zoo. PEERS_ARGS goes to the comparison, e.g.
# PEERS_ARGS="--quick", "--only T5", "--rounds 15 --fresh". MINILM and STS_B name a checkpoint and a file that tools/demo.sh fetches too.
source "$(dirname "$0")/lib.sh"

tools/build.sh zoo
readonly home=$build/peers
python=${PYTHON:-python3}
if [ ! -f "$home/venv/complete" ] || ! cmp -s tests/bench/peers/requirements.txt "$home/venv/complete"; then
  echo "==> a Python environment with the peers, in $home/venv"
  "$python" -m venv "$home/venv"
  # The CPU build of PyTorch where pip offers one: ten times smaller.
  "$home/venv/bin/pip" install --quiet "torch==2.13.0+cpu" 2> /dev/null || true
  "$home/venv/bin/pip" install --quiet -r tests/bench/peers/requirements.txt
  cp tests/bench/peers/requirements.txt "$home/venv/complete"
fi
minilm=${MINILM:-$HOME/.cache/zoo/minilm}
arguments=(--zoo "$build/zoo" --folder "$home" --out docs/results/speed.md)
[ -f "$minilm/model.safetensors" ] && arguments+=(--minilm "$minilm")
[ -n "${STS_B:-}" ] && arguments+=(--sts-b "$STS_B")
# shellcheck disable=SC2086 # a list of words
exec "$home/venv/bin/python" tests/bench/peers/main.py "${arguments[@]}" ${PEERS_ARGS:-}
