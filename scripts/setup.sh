#!/usr/bin/env bash
# Makes everything that the Makefile's targets need, each step once: a step is repeated when what it depends on changed.
#
# Usage: scripts/setup.sh demo|test|export|train
#   demo   system packages, .venv with what auricle needs to be built and to run, Silero's files, auricle itself (editable),
#          the native module
#   test   the same and, on top, what the tests need: pytest, linters, a sound server, the shell checker
#   export .venv-export with torch and the export toolchain
#   train  the same and, on top, the speech synthesisers and the recordings of Debian packages that the starter learns from
#
# PYTHON=…          interpreter to use (default: the first Python >= 3.10 on PATH)
# TORCH_ARGS=…      further arguments of `pip install torch`, such as --index-url of a CPU-only index
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${1:?usage: scripts/setup.sh demo|test|export|train}
case "$profile" in demo | test | export | train) ;; *) echo "usage: scripts/setup.sh demo|test|export|train" >&2 && exit 2 ;; esac

say() { echo "auricle: $*"; }
fail() { echo "auricle: $*" >&2 && exit 1; }
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
alive() { # alive COMMAND…: runs it; a line every 20 s shows whoever waits that it is still at work
    local beat started=$SECONDS code=0
    (while sleep 20 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do say "still at it ($((SECONDS - started)) s)" >&2; done) </dev/null >/dev/null &
    beat=$!
    "$@" || code=$?
    kill "$beat" 2>/dev/null || true
    wait "$beat" 2>/dev/null || true # it was killed: that is no failure
    return $code
}
shown() { # passes on what pip downloads, one line each
    sed -unE 's/^ *Downloading ([^ ]+-[^ ]+-[^ ]+\.whl)(\.metadata)? (\([^)]*\))$/\1\2 \3/; /\.metadata/d; s/^([^-]+-[^-]+)-[^ ]+( \([^)]*\))$/auricle:   \1\2/p'
}

# --- The stamp of a step is a file whose name ends in a hash of the step's inputs (times of change mean nothing after a checkout).
fingerprint() { { echo "$@" && cat -- "${inputs[@]}"; } | sha256sum | cut -c1-16; }
done_before() { [ -e "$venv/.stamps/$1-$2" ]; }
mark_done() { mkdir -p "$venv/.stamps" && rm -f "$venv/.stamps/$1-"* && : >"$venv/.stamps/$1-$2"; }

# --- The interpreter, and what only the system's package manager can give.
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }
python=${PYTHON:-}
if [ -z "$python" ]; then
    for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
        if new_enough "$candidate"; then python=$candidate && break; fi
    done
fi
missing=()
need() { # need PACKAGE REASON COMMAND…: notes the package when the command fails
    local package=$1 reason=$2 && shift 2
    if ! "$@" >/dev/null 2>&1; then missing+=("$package") && say "needs $package: $reason"; fi
}
has_library() { # looks where the loader looks; ldconfig may lie outside a user's PATH
    PATH="$PATH:/usr/sbin:/sbin" ldconfig -p | grep -q "$1"
}
has_plugin() { compgen -G "/usr/lib*/alsa-lib/$1" || compgen -G "/usr/lib/*/alsa-lib/$1"; }
has_headers() { "${python:-python3}" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'; }

need python3 "the runtime is written in it" new_enough "${python:-python3}"
need python3-venv "it makes the virtual environment" "${python:-python3}" -c 'import venv, ensurepip'
need python3-dev "Python's headers, for the native module" has_headers
need g++ "compiles the native module and llama.cpp" command -v g++
need libportaudio2 "the microphone is opened through it" has_library libportaudio.so.2
need libasound2-plugins "PortAudio reaches the sound server through it" has_plugin libasound_module_pcm_pulse.so
if [ "$profile" = test ]; then
    need pulseaudio "the capture tests run against a real sound server" command -v pulseaudio
    need pulseaudio-utils "the capture tests play into it" command -v paplay
    need jackd2 "its dummy driver has the rates and channels that PulseAudio would hide" command -v jackd
    need chromium "the pages of auricle serve are tested in it" command -v chromium
    need chromium-driver "it drives Chromium" command -v chromedriver
    need mosquitto "the bridge to MQTT is tested against it" test -x /usr/sbin/mosquitto
    need rosidl-tools "the messages for robots are translated by it" command -v rosidl
    need python3-catkin-pkg "rosidl-tools reads packages with it, and only recommends it" /usr/bin/python3 -c 'import catkin_pkg'
    need python3-empy "rosidl-tools writes with it, and only recommends it" /usr/bin/python3 -c 'import em'
    need systemd "the unit of auricle as a service is checked by it" command -v systemd-analyze
    need shellcheck "make lint checks the scripts with it" command -v shellcheck
elif [ "$profile" = train ]; then
    need espeak-ng "speaks the training sentences" command -v espeak-ng
    need flite "speaks them in other voices" command -v flite
    need fluidsynth "plays the training music" command -v fluidsynth
    share=/usr/share/ # recordings that are learnt from (export/train/packaged.py)
    for language in en es fr it ru; do
        need "asterisk-core-sounds-$language-wav" "voices in many languages are learnt from" compgen -G "${share}asterisk/sounds/${language}_*"
    done
    need klettres-data "spoken letters are learnt from it" test -d ${share}klettres/en
    need tuxpaint-stamps-default "animals, things and voices are learnt from it" test -d ${share}tuxpaint/stamps/animals
    need fluid-soundfont-gs "instruments of the training music" test -e ${share}sounds/sf2/FluidR3_GS.sf2
    need timgm6mb-soundfont "instruments of the training music" test -e ${share}sounds/sf2/TimGM6mb.sf2
    while read -r package folder; do # [package] and folder = "…" of each table
        need "$package" "sounds of the world are learnt from it" test -d "$share$folder"
    done < <(sed -nE 's/^\[([a-z0-9-]+)\]$/\1/p; s/^folder = "(.*)"$/\1/p' export/train/games.toml | paste -d ' ' - -)
fi
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || fail "there is no apt-get here: install what corresponds to ${missing[*]}, then run this again"
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "installing ${missing[*]} needs root: run apt-get install ${missing[*]} as root, then this again"
        as_root=(sudo)
    fi
    say "installing ${missing[*]} with apt-get (a minute or two)"
    "${as_root[@]}" apt-get -qq update
    alive "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "${missing[@]}" >/dev/null ||
        fail "apt-get could not install ${missing[*]}: install them by hand, then run this again"
    if [ -z "$python" ]; then python=python3; fi
fi
new_enough "$python" || fail "$python is older than 3.10: put a newer Python on PATH or name one with PYTHON=…"
has_headers || fail "$python has no headers (Python.h): install its development package, or name another interpreter with PYTHON=…"

# --- The virtual environment.
# A lock holds everything of the one before it, so that `make test` after `make demo` only adds.
venv=.venv && locks=(build)
case "$profile" in
test) locks+=(dev) ;;
export | train) venv=.venv-export && locks=(export) ;;
esac
inputs=()
interpreter=$("$python" -c 'import sys; print(sys.version, sys.base_prefix)')
key=$(fingerprint "$interpreter" </dev/null)
if ! done_before venv "$key" || ! "$venv/bin/python" -c '' 2>/dev/null; then
    say "making the virtual environment $venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    mark_done venv "$key"
fi
export PATH="$PWD/$venv/bin:$PATH"

for lock in "${locks[@]}"; do
    inputs=("requirements/$lock.txt")
    key=$(fingerprint "$interpreter")
    if ! done_before "lock-$lock" "$key"; then
        say "downloading and installing the pinned packages of ${inputs[0]} (first time: a minute or two)"
        binary=(--only-binary :all:) # nothing is compiled; two packages of the evaluation are pure Python and come as source only
        if [ "$lock" = export ]; then binary+=(--no-binary sed-eval --no-binary dcase-util); fi
        alive "$venv/bin/pip" install --progress-bar off --require-hashes "${binary[@]}" --requirement "${inputs[0]}" | shown
        mark_done "lock-$lock" "$key"
    fi
done

# Published pairs of model and mmproj need a larger build, which a demo does not wait for.
variant=mtmd
if [ "$profile" = demo ]; then variant=; fi
inputs=(scripts/llama_wheel.sh)
key=$(fingerprint "$interpreter" "$variant")
if ! done_before llama "$key" && ! { [ -z "$variant" ] && done_before llama "$(fingerprint "$interpreter" mtmd)"; }; then
    llama=$(alive scripts/llama_wheel.sh "$venv/bin/python" $variant)
    say "installing $(basename "$llama")"
    "$venv/bin/pip" install -qq --no-deps --no-index --force-reinstall "$llama"
    mark_done llama "$key"
fi

inputs=()
torch=torch==2.13.0
key=$(fingerprint "$interpreter" $torch </dev/null)
if [ "$venv" = .venv-export ] && ! done_before torch "$key"; then
    say "installing torch (large: several minutes)"
    # shellcheck disable=SC2086  # TORCH_ARGS is several arguments
    alive "$venv/bin/pip" install -qq $torch ${TORCH_ARGS:-}
    mark_done torch "$key"
fi

# --- auricle itself: a .pth file, the two commands, the metadata; no compilation.
"$venv/bin/python" scripts/silero_files.py
inputs=(pyproject.toml scripts/build_backend.py edge/__init__.py)
key=$(fingerprint "$interpreter")
if ! done_before editable "$key"; then
    say "installing auricle into $venv (editable)"
    "$venv/bin/pip" install -qq --no-deps --no-build-isolation --editable . \
        --config-settings wheel.cmake=false --config-settings editable.mode=inplace
    mark_done editable "$key"
fi

# --- The native module, beside the Python files that import it; only it is rebuilt when C++ changes.
mapfile -t inputs < <(find native -type f -not -path 'native/tests/*' | LC_ALL=C sort)
key=$(fingerprint "$interpreter")
suffix=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
if ! done_before native "$key" || [ ! -e "edge/_native$suffix" ]; then
    say "building the native module (half a minute)"
    folder=build/native${suffix%.so}
    mkdir -p "$folder"
    {
        # Fresh: a cache remembers the headers of the interpreter that it first saw.
        cmake --fresh -S native -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$PWD" \
            -DPython_EXECUTABLE="$PWD/$venv/bin/python" -Dpybind11_DIR="$("$venv/bin/python" -m pybind11 --cmakedir)" &&
            cmake --build "$folder" --target _native && cmake --install "$folder"
    } >"$folder/log.txt" 2>&1 || { tail -n 60 "$folder/log.txt" >&2 && fail "the native module did not build (see above)"; }
    "$venv/bin/python" -c 'import edge._native' || fail "the native module was built but does not load (see above)"
    mark_done native "$key"
fi
