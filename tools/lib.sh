# Sourced by the other scripts: strict mode, the repository as working folder, timed steps.
set -euo pipefail
export LC_ALL=C.UTF-8
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly repository=$PWD
readonly build=${BUILD_DIR:-build}

fail() { echo "error: $*" >&2; exit 1; }

# step "what it does" command...: says what starts, and how long it took. With ZOO_TIMES=FILE the time is noted there too.
step() {
  local name=$1 start=$EPOCHREALTIME seconds status=0
  shift
  echo "==> $name"
  "$@" || status=$?
  seconds=$(elapsed "$start")
  [ -z "${ZOO_TIMES:-}" ] || printf '%s\t%s\n' "$seconds" "$name" >> "$ZOO_TIMES"
  [ $status -eq 0 ] || { echo "==> $name: failed after $seconds s (exit code $status)" >&2; exit $status; }
  echo "==> $name: done in $seconds s"
}

# Seconds since a value of $EPOCHREALTIME, with one decimal. (In the C locale its separator is a point.)
elapsed() {
  local tenths=$(( (${EPOCHREALTIME/./} - ${1/./}) / 100000 ))
  echo "$((tenths / 10)).$((tenths % 10))"
}

# The first Python that has pip: the one on PATH, else the system's. Used for fetching wheels, never by the program.
find_pip() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -m pip --version > /dev/null 2>&1; then echo "$python"; return; fi
  done
  fail "no Python with pip was found; install the package python3-pip"
}

# fetch_into FOLDER COMMAND...: runs COMMAND with a temporary folder beside FOLDER as last argument, and renames that to
# FOLDER when it succeeded: FOLDER is complete or absent.
fetch_into() {
  local folder=$1 temporary
  shift
  mkdir -p "$(dirname "$folder")"
  temporary=$(mktemp -d "$folder.XXXXXX")
  # shellcheck disable=SC2064 # the name of now is meant
  trap "rm -rf '$temporary'" EXIT
  "$@" "$temporary" || return 1
  chmod 755 "$temporary"
  rm -rf "$folder"
  mv -T "$temporary" "$folder"
}
