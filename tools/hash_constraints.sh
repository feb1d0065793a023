#!/bin/sh
# Prints constraints.txt with the hashes of every file, for `pip install --require-hashes -r FILE`. Needs the network,
# and pip-tools (pip install pip-tools). Not used by make: pip refuses hashes beside an editable install.
set -eu
cd "$(dirname "$0")/.."
list=$(mktemp)
trap 'rm -f "$list"' EXIT
grep -v '^#' constraints.txt > "$list"
pip-compile --quiet --no-header --no-annotate --generate-hashes --output-file - "$list"
