# zoo: two commands, "make demo" and "make test", take a fresh Debian 12 or Ubuntu 24.04 to the end. "make help" lists all.
# Every target does what is missing of: system packages, LibTorch, configure, build. CMake does the building (CMakeLists.txt);
# this file and tools/ are the way to it.
PREFIX ?= /usr/local
BENCH ?= bert:minilm-l6 cct:cct_7_3x1_32 vit:base_patch16_224 --batch 1,8
export TORCH CUDA CMAKE_ARGS

.DEFAULT_GOAL := build
.PHONY: build test demo bench bench-peers install clean help

build:  ## build/zoo, the program
	@tools/build.sh zoo
	@echo "==> build/zoo is ready; try: build/zoo list"

test:  ## build everything and run all tests
	@tools/test.sh

demo:  ## a real checkpoint at work, a network trained in minutes, and the table of proofs
	@tools/demo.sh

bench: build  ## speed of some networks on this machine (BENCH="..." replaces the arguments of zoo bench)
	@build/zoo bench $(BENCH)

bench-peers:  ## speed beside transformers, ONNX Runtime, OpenVINO, CTranslate2 (PEERS_ARGS="--quick"; tools/bench_peers.sh says more)
	@tools/bench_peers.sh

install:  ## program, headers, libraries and CMake package into PREFIX (default /usr/local)
	@tools/install.sh "$(PREFIX)"

clean:  ## remove what was built (fetched LibTorch in .deps/ stays)
	rm -rf build

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 14
	@echo
	@echo "Variables:"
	@echo "  TORCH=/path   LibTorch to use: an unpacked distribution, or the torch folder of a Python installation"
	@echo "  CUDA=1        insist on a LibTorch with CUDA (default: where there is an NVIDIA driver; 0: no)"
	@echo "  PREFIX=/path  where make install puts things"
	@echo "  CMAKE_ARGS=   more arguments for CMake, for example -DZOO_UNITY=OFF"
	@echo "  ZOO_PACKAGES=skip (environment) leaves the system's packages alone"
