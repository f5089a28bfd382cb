#!/bin/sh
# Builds and runs the native suites: as shipped, under ThreadSanitizer (with the planted mistake, which must be reported),
# and under AddressSanitizer with UndefinedBehaviorSanitizer. Build folders: build/native-* of the repository.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
generator=$(command -v ninja >/dev/null && echo Ninja || echo "Unix Makefiles")

suite() { # NAME SANITIZERS
  folder="$root/build/native-$1"
  echo "native tests: $1"
  if [ ! -f "$folder/CMakeCache.txt" ]; then
    cmake -S "$root/native" -B "$folder" -G "$generator" -DAURICLE_PYTHON=OFF -DAURICLE_TESTS=ON "-DAURICLE_SANITIZE=$2" >/dev/null
  fi
  cmake --build "$folder" --parallel 2 >"$folder/build.log" 2>&1 || { cat "$folder/build.log"; exit 1; }
  # Without address randomisation: GCC 12's ThreadSanitizer refuses the wide randomisation of newer kernels.
  $(command -v setarch >/dev/null && setarch -R true 2>/dev/null && echo setarch -R) \
    ctest --test-dir "$folder" --output-on-failure --no-tests=error
}

suite plain ""
suite thread "thread"
suite address "address,undefined"
