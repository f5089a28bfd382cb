#!/usr/bin/env bash
# Every question about the whole line, one after another; each result goes to benchmarks/results/line_<name>.json. About an hour.
#
# Usage: benchmarks/line_all.sh [BUNDLE]      BUNDLE: starter where it is left out. Needs .venv (make setup) and ../shared/data.
# Exit code 1 when a bar was missed, 2 when something could not be measured; all of them run even so.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

bundle=${1:-starter}
worst=0
unheard=runs/starter/without-fold-4 # what `make train` leaves; the shipped starter has learnt fold 4, so a figure of its own would mean nothing
for name in scene jfk esc10 captions overload faults rates cost noise; do
    measured=$bundle
    if [ "$name" = esc10 ] && [ "$bundle" = starter ]; then
        measured=$unheard
        if [ ! -d "$measured" ]; then
            echo "auricle: benchmarks/line_esc10.py not run: $unheard is not here (make train)"
            continue
        fi
    fi
    echo "auricle: benchmarks/line_$name.py"
    .venv/bin/python "benchmarks/line_$name.py" --bundle "$measured" --output "benchmarks/results/line_$name.json"
    code=$?
    [ "$code" -gt "$worst" ] && worst=$code
done
exit "$worst"
