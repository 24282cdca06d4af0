#!/bin/bash
# Installs the system packages of tools/packages.txt that are missing. When none is, this takes some hundredths of a second.
source "$(dirname "$0")/lib.sh"

[ "${ZOO_PACKAGES:-}" != skip ] || exit 0
command -v dpkg-query > /dev/null ||
  fail "this system has no dpkg, so packages cannot be installed for you: install the equivalents of tools/packages.txt, then set ZOO_PACKAGES=skip"

# shellcheck disable=SC2207 # names hold no spaces
wanted=($(grep -vE '^(#|$)' tools/packages.txt))
installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "${wanted[@]}" 2> /dev/null || true)
missing=()
for package in "${wanted[@]}"; do
  grep -qxF "$package installed" <<< "$installed" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo > /dev/null || fail "system packages are missing; as root, run: apt-get install ${missing[*]}"
  root=(sudo)
fi
apt() { ${root[@]+"${root[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o Dpkg::Use-Pty=0 "$@" < /dev/null; }

# The package lists may be absent (fresh machine) or out of date (a version is gone from the mirror): then update and try again.
install_missing() {
  local log
  log=$(mktemp)
  echo "    ${missing[*]}"
  if ! apt install --no-install-recommends "${missing[@]}" > "$log" 2>&1; then
    apt update > "$log" 2>&1 || true
    apt install --no-install-recommends "${missing[@]}" > "$log" 2>&1 ||
      { tail -20 "$log" >&2; rm "$log"; fail "apt-get could not install: ${missing[*]}"; }
  fi
  rm "$log"
}
step "installing ${#missing[@]} system packages" install_missing
