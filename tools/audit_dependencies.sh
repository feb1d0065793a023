#!/bin/sh
# Asks for known weaknesses of the versions in constraints.txt. Needs the network, and pip-audit (pip install pip-audit).
# --strict: where a package is not known to the service that is asked, the audit fails instead of passing it over.
set -eu
cd "$(dirname "$0")/.."
list=$(mktemp)
trap 'rm -f "$list"' EXIT
grep -v '^#' constraints.txt > "$list"
pip-audit --strict --requirement "$list" --no-deps --disable-pip "$@"
