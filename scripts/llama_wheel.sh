#!/usr/bin/env bash
# Builds the llama-cpp-python wheel that the lock file pins, once, and keeps it in the user's cache.
#
# Usage: scripts/llama_wheel.sh PYTHON [mtmd]        prints the wheel's path on stdout, progress on stderr.
#
# mtmd: with llama.cpp's multimodal library, which published pairs of model and mmproj need (9 CPU-minutes instead of 4).
# Without it a wheel that has it is taken as well, if there is one.
#
# Why not plain pip: PyPI carries only the source; its default build takes three times as long (it also compiles the
# server and the common library, which auricle does not call) and uses -march=native, which must not be shipped: such a
# wheel crashes with SIGILL on another machine of the same architecture.
set -euo pipefail

python=${1:?usage: scripts/llama_wheel.sh PYTHON [mtmd]}
variant=${2:-}
version=0.3.36
sdist_sha256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
arch=$(uname -m)
cache=${AURICLE_WHEEL_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/auricle/wheels}
flags=1 # raised when the flags below change, so that an older wheel is not taken for a newer one
plain="$cache/llama-cpp-python-$version-$arch-$flags" # the wheel is py3-none: it fits every Python
home="$plain${variant:+-$variant}"

places=("$home")
if [ -z "$variant" ]; then places=("$plain-mtmd" "$plain"); fi
found=$(find "${places[@]}" -name '*.whl' 2>/dev/null | head -n 1 || true)
if [ -n "$found" ]; then
    echo "$found"
    exit 0
fi

minutes=$([ "$variant" = mtmd ] && echo 9 || echo 4)
echo "auricle: building llama-cpp-python $version once for $arch (about $minutes CPU-minutes; kept in $home)" >&2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/build" >&2
"$work/build/bin/pip" install -qq scikit-build-core==1.1.2 cmake==4.4.4 ninja==1.13.2 >&2
"$work/build/bin/pip" download -qq --no-deps --no-binary llama-cpp-python --no-build-isolation \
    --dest "$work" "llama-cpp-python==$version" >&2
archive="$work/llama_cpp_python-$version.tar.gz"
echo "$sdist_sha256  $archive" | sha256sum --check --quiet >&2
tar -xzf "$archive" -C "$work"
source_dir="$work/llama_cpp_python-$version"
# The flag is forced ON in the package's own CMakeLists.txt, so a -D on the command line has no effect.
sed -i -E 's/(set\(LLAMA_BUILD_COMMON) ON/\1 OFF/' "$source_dir/CMakeLists.txt"

options="-DLLAVA_BUILD=$([ "$variant" = mtmd ] && echo ON || echo OFF) -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF"
case "$arch" in
x86_64) options="$options -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON" ;;
esac
CMAKE_ARGS="$options ${AURICLE_LLAMA_CMAKE_ARGS:-}" PATH="$work/build/bin:$PATH" \
    "$work/build/bin/pip" wheel -qq --no-deps --no-build-isolation --wheel-dir "$work/wheel" "$source_dir" >&2
mkdir -p "$home"
# Renamed last, inside one folder: an interrupted copy leaves no half wheel behind under the name looked for.
built=$(basename "$work"/wheel/*.whl)
cp "$work/wheel/$built" "$home/$built.partial"
mv "$home/$built.partial" "$home/$built"
echo "$home"/*.whl
