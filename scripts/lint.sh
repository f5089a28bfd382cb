#!/usr/bin/env bash
# Every guard that needs no test run; all of them run even when one fails, so that one go shows everything.
#
# Usage: scripts/lint.sh      after scripts/setup.sh test (the Makefile puts .venv/bin first on PATH).
set -uo pipefail
cd "$(dirname "$0")/.." || exit

failed=0
step() {
    echo "auricle: $1 $2"
    "$@" || failed=1
}
step ruff check --quiet
step ruff format --quiet --check
step mypy --strict
mapfile -t cpp < <(git ls-files 'native/*.cpp' 'native/*.hpp')
if [ ${#cpp[@]} -gt 0 ]; then step clang-format --dry-run -Werror "${cpp[@]}"; fi
mapfile -t shell < <(git ls-files '*.sh' .ci/run)
step shellcheck "${shell[@]}"
exit $failed
