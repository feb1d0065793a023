#!/bin/sh
# Asks for known weaknesses of the versions in constraints.txt. Needs the network, and pip-audit (pip install pip-audit).
set -eu
cd "$(dirname "$0")/.."
list=$(mktemp)
trap 'rm -f "$list"' EXIT
grep -v '^#' constraints.txt > "$list"
pip-audit --requirement "$list" --no-deps --disable-pip "$@"
