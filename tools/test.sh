#!/bin/bash
# Builds everything and runs every test. The last lines are CTest's summary and, alone on a line, "N passed, N failed".
source "$(dirname "$0")/lib.sh"

tools/build.sh all
# Tests of the real checkpoint say that they skip when it is absent.
minilm=$(tools/fetch_minilm.sh) && export ZOO_MINILM=$minilm || echo "==> going on without all-MiniLM-L6-v2; tests that need it are skipped"

# The tests' tensors are small: threads that spin while they wait only take time from one another, most on a busy machine.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
run_tests() { ctest --test-dir "$build" --output-on-failure --no-tests=error; }
status=0
( step "testing" run_tests ) || status=$?

# CTest keeps to itself what passing programs say; what they did not test is to be seen (how often, and the first line of why).
skipped=$(sed -n 's/^ *SKIPPED: //p' "$build/Testing/Temporary/LastTest.log" | sort | uniq -c)
[ -z "$skipped" ] || printf '==> tests that were skipped:\n%s\n' "$skipped"

# Test cases, not programs: a Catch2 program counts as many as its own summary says, another test as one.
awk '
  /^[0-9]+\/[0-9]+ Testing: / { if (open) total(); open = 1; passed = failed = 0; counted = 0; ok = 0 }
  /^All tests passed \(.* in [0-9]+ test case/ { for (i = 1; i <= NF; i++) if ($i == "in") passed = $(i + 1); counted = 1 }
  /^test cases: / { for (i = 1; i <= NF; i++) { if ($i == "passed") passed = $(i - 1); if ($i == "failed") failed = $(i - 1) } counted = 1 }
  /^Test Passed\./ { ok = 1 }
  function total() { if (!counted) { passed = ok; failed = !ok } else if (!ok && !failed) failed = 1; all_passed += passed; all_failed += failed }
  END { if (open) total(); printf "%d passed, %d failed\n", all_passed, all_failed }
' "$build/Testing/Temporary/LastTest.log"
exit $status
