#!/bin/sh
# Asks for known weaknesses of the versions in constraints.txt. Needs the network, and pip-audit (pip install pip-audit).
# Ends with 0 only if every package was asked for and none has a known weakness, and says what was not looked at.
set -eu
cd "$(dirname "$0")/.."
list=$(mktemp)
trap 'rm -f "$list"' EXIT
grep -v '^#' constraints.txt > "$list"
count=$(wc -l < "$list" | tr -d ' ')
status=0
# --strict: a package that the service does not know fails the audit, and is not passed over.
pip-audit --strict --requirement "$list" --no-deps --disable-pip "$@" || status=$?
if [ "$status" -eq 0 ]; then
    echo "All $count packages were asked for by name and version. None has a known weakness."
else
    echo "The audit did not pass (exit code $status): a package has a weakness or is not known, or nothing could be asked. See above." >&2
fi
echo "Not looked at: libraries inside of the wheels (FFmpeg, libheif, libtiff and others), Python, the system, the browser" >&2
echo "that tests use, versions other than those in constraints.txt, and weaknesses that nobody has reported." >&2
exit "$status"
