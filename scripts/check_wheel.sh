#!/usr/bin/env bash
# Builds the wheel as a user's pip would and uses it where nothing of this checkout is reachable.
#
# Usage: scripts/check_wheel.sh      after scripts/setup.sh (the Makefile puts .venv/bin first on PATH).
#
# The environment is empty but for auricle; third-party packages are lent by .venv through a .pth file (whose own .pth
# files, and so the editable install, are not followed).
set -euo pipefail
cd "$(dirname "$0")/.."

echo "auricle: building the wheel"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1
python -m pip wheel -qq --no-deps --no-build-isolation --wheel-dir "$work" .
wheel=$(ls "$work"/auricle-*.whl)

echo "auricle: using $(basename "$wheel") in an empty environment"
python -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-deps --no-index "$wheel"
cp edge/data/demo_scene.flac "$work/"
cd "$work"
"$work/venv/bin/python" "$OLDPWD/scripts/check_wheel.py" "$OLDPWD" "$wheel"
