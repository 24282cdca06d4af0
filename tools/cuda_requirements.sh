#!/bin/bash
# cuda_requirements.sh METADATA: prints those requirements of a torch wheel that hold CUDA's run-time libraries, one a line, without
# environment markers. Optional extras and Python packages (triton, cuda-bindings) are left out.
sed -n 's/^Requires-Dist: *\(nvidia-[^;]*\|cuda-toolkit[^;]*\)\(;.*\)\{0,1\}$/\1\2/p' "$1" |
  grep -v 'extra *==' | sed 's/;.*//; s/ *$//; s/ (\(.*\))/\1/; s/ //g'
