#!/bin/bash
# make bench-peers: zoo beside transformers, ONNX Runtime, OpenVINO and CTranslate2 (tests/bench/peers). The peers live in a Python
# environment of their own under the build folder; nothing of them becomes part of zoo. PEERS_ARGS goes to the comparison, e.g.
# PEERS_ARGS="--quick", "--only T5", "--rounds 15 --fresh". MINILM names a folder of all-MiniLM-L6-v2 instead of the one that is fetched, STS_B the test.csv of
# STS-B (sentence, sentence, score); without it the works on sentences are left out, which the comparison says.
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
minilm=${MINILM:-$(tools/fetch_minilm.sh)} || minilm=
sts_b=${STS_B:-../shared/data/text/sts_b/test.csv}
arguments=(--zoo "$build/zoo" --folder "$home" --out docs/results/speed.md)
[ ! -f "$minilm/model.safetensors" ] || arguments+=(--minilm "$minilm")
[ ! -f "$sts_b" ] || arguments+=(--sts-b "$sts_b")
# shellcheck disable=SC2086 # a list of words
exec "$home/venv/bin/python" tests/bench/peers/main.py "${arguments[@]}" ${PEERS_ARGS:-}
