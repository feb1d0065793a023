#!/bin/sh
# Writes deploy/requirements.lock: what the container installs, in the versions of constraints.txt, with the hashes of
# every file. Needs the network, and uv (pip install uv).
set -eu
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
grep -v '^#' constraints.txt > "$folder/constraints.txt"
echo hatchling > "$folder/build.in"  # builds facemend itself
{
    echo '# The container installs these, and nothing whose hash is another. After a change: tools/lock_container.sh'
    uv pip compile --quiet pyproject.toml "$folder/build.in" --extra serve --extra heic --python-version 3.11 --universal \
        --constraint "$folder/constraints.txt" --generate-hashes --no-annotate --no-header
} > "$folder/lock"
cp "$folder/lock" deploy/requirements.lock
