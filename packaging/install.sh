#!/usr/bin/env bash
# Installs auricle for good: into a folder of its own, apart from this checkout, with the service unit and a first configuration.
#
# Usage: packaging/install.sh            as root; after it: systemctl enable --now auricle
#   PREFIX=/opt/auricle   where to      DESTDIR=   put before /etc, for packages
#   WITH="web mqtt"       extras (web, mqtt, zenoh, wyoming, hub); none where it is empty
set -euo pipefail
cd "$(dirname "$0")/.."

prefix=${PREFIX:-/opt/auricle} destination=${DESTDIR:-} with=${WITH-web mqtt}
unset PREFIX DESTDIR WITH # CMake takes DESTDIR for its own
say() { echo "auricle: $*"; }
if [ -n "$(ls -A "$prefix" 2>/dev/null)" ] && [ ! -e "$prefix/pyvenv.cfg" ]; then
    say "$prefix holds other things, which the installation would remove; name a folder of its own, PREFIX=$prefix/auricle" >&2
    exit 1
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

scripts/setup.sh demo
export PATH="$PWD/.venv/bin:$PATH"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say "building the wheel"
python -m pip wheel -qq --no-deps --no-build-isolation --wheel-dir "$work" .
llama=$(scripts/llama_wheel.sh "$PWD/.venv/bin/python" | tail -1)

say "installing into $prefix"
interpreter=$(python -c 'import sys; print(sys._base_executable)')
mkdir -p "$(dirname "$prefix")"
"$interpreter" -m venv --clear "$prefix"
"$prefix/bin/pip" install -qq --require-hashes --only-binary :all: --requirement requirements/runtime.txt
"$prefix/bin/pip" install -qq --no-deps --no-index "$llama" "$work"/auricle-*.whl
if [ -n "$with" ]; then
    # The versions of the lock; a constraint may not carry hashes.
    sed -E 's/ *\\$//; /^ *--hash/d' requirements/dev.txt >"$work/versions.txt"
    "$prefix/bin/pip" install -qq --only-binary :all: --constraint "$work/versions.txt" "auricle[${with// /,}]"
fi
mkdir -p "$prefix/share/doc/auricle"
cp -r docs/*.md "$prefix/share/doc/auricle/"

say "writing $destination/etc/systemd/system/auricle.service"
mkdir -p "$destination/etc/systemd/system" "$destination/etc/auricle"
sed "s#/opt/auricle#$prefix#g" packaging/auricle.service >"$destination/etc/systemd/system/auricle.service"
configuration=$destination/etc/auricle/auricle.toml
if [ ! -e "$configuration" ]; then
    cat >"$configuration" <<'TOML'
# Options of `auricle serve`; `auricle serve --help` lists them. `auricle doctor --config /etc/auricle/auricle.toml` checks them.
bundle = "starter"
# web = "127.0.0.1:8765"
# history = "text"
# profile = "mains"
TOML
fi
if [ -z "$destination" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
"$prefix/bin/auricle" --version
say "done; try $prefix/bin/auricle doctor --config $configuration, then systemctl enable --now auricle"
