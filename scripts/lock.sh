#!/usr/bin/env bash
# Resolves pyproject.toml into requirements/*.txt: every version pinned, every file hashed, for Python 3.10 and later.
#
# Usage: scripts/lock.sh [uv options, such as --upgrade-package numpy]      needs uv (pip install uv).
#
# Left out, because their hashes are not stable: llama-cpp-python (built here from a pinned, hashed source by
# scripts/llama_wheel.sh; what it needs is in the files) and torch (see requirements/export.in).
set -euo pipefail
cd "$(dirname "$0")/.."

uv=${UV:-uv}
options=(--universal --python-version 3.10 --generate-hashes --no-emit-package llama-cpp-python
    --no-emit-index-url --no-annotate --no-config --quiet --custom-compile-command scripts/lock.sh)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
no_torch=$work/no_torch.txt
echo 'torch; python_version < "0"' >"$no_torch"
# 1.3 says that it is only for Python < 3.11, an upper bound that uv does not look at.
echo 'backports-strenum<1.3' >"$work/bounds.txt"
options+=(--constraint "$work/bounds.txt")

"$uv" pip compile "${options[@]}" "$@" pyproject.toml --output-file requirements/runtime.txt
"$uv" pip compile "${options[@]}" "$@" pyproject.toml --extra build --constraint requirements/runtime.txt \
    --output-file requirements/build.txt
"$uv" pip compile "${options[@]}" "$@" pyproject.toml --extra dev --extra tflite --constraint requirements/build.txt \
    --output-file requirements/dev.txt
"$uv" pip compile "${options[@]}" "$@" pyproject.toml requirements/export.in --extra dev --extra tflite --extra export --override "$no_torch" \
    --constraint requirements/dev.txt --output-file requirements/export.txt
