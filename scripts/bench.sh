#!/usr/bin/env bash
# Every benchmark, one after another, each result into benchmarks/results/<name>.json; a missed bar stops nothing and is told at the end.
#
# Usage: scripts/bench.sh [BUNDLE]      after scripts/setup.sh test (the Makefile puts .venv/bin first on PATH).
# Exit code 1 when a bar was missed, 2 when something could not be measured.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

worst=0
told=()
judge() { # judge NAME CODE: 1 is a missed bar or a fault; anything higher is something that was not measured
    case $2 in
    0) told+=("$1: done") ;;
    1) told+=("$1: FAILED, see above") ;;
    *) told+=("$1: NOT MEASURED") ;;
    esac
    [ "$2" -gt 1 ] && set -- "$1" 2
    [ "$2" -gt "$worst" ] && worst=$2
}
trap 'exit 130' INT

for script in benchmarks/{native,gate,capture}_*.py; do
    name=$(basename "$script" .py)
    output=()
    if grep -q -- '"--output"' "$script"; then output=(--output "benchmarks/results/$name.json"); fi
    echo "auricle: $script"
    python "$script" ${output[@]+"${output[@]}"}
    judge "$name" $?
done
benchmarks/line_all.sh "${1:-starter}"
judge "the whole line (see above)" $?

echo "auricle: benchmarks"
printf '  %s\n' "${told[@]}"
exit "$worst"
