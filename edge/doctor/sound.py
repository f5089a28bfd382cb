"""Microphones: who may use them, who else does, and whether the chosen one hears anything."""

from __future__ import annotations

import grp
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from edge.doctor.finding import Check, Finding, Machine, refused
from edge.errors import DeviceError

QUIET_DBFS = -90.0
"""Below this a microphone of 16 bits gives nothing but zeros and ones: muted, or none is behind the plug."""
LOUD_DBFS = -3.0
UNMUTE = "take the mute off: alsamixer (F4), pavucontrol, or a switch on the cable"
SOFTER = "turn the capture gain down: alsamixer (F4), or pavucontrol"
BUSY = "end the program that has it, or name another by device"


def permissions(machine: Machine) -> Iterator[Finding]:
    """The sound cards' device files."""
    folder = machine.root / "dev/snd"
    if not folder.is_dir():
        yield Finding("sound cards", "note", "the kernel has none (no /dev/snd): only a sound server can be heard", "plug one in")
        return
    cards = sorted(folder.glob("pcm*c"))
    shut = [card for card in cards if not os.access(card, os.R_OK | os.W_OK)]
    if shut:
        group = _group(shut[0])
        remedy = f"usermod -aG {group} {_user()}, then log in again (in a service: SupplementaryGroups={group})"
        yield Finding("sound cards", "wrong", f"{_user()} may not open {shut[0]}, which belongs to group {group}", remedy)
    elif cards:
        yield Finding("sound cards", "good", f"{len(cards)} that record, open to {_user()}")
    else:
        yield Finding("sound cards", "note", "there are sound cards, but none that records", "plug a microphone in")


def _user() -> str:
    return os.environ.get("USER") or f"user {os.getuid()}"


def _group(path: Path) -> str:
    gid = path.stat().st_gid
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def sound_server(machine: Machine) -> Iterator[Finding]:
    """PulseAudio's socket, which PipeWire offers too: a server that is there but refuses hides every microphone."""
    path = _server_path(machine)
    if path is None:
        yield Finding("sound server", "good", "none is asked for; ALSA is used")
        return
    remedy = "systemctl --user restart pipewire-pulse (or pulseaudio), or unset PULSE_SERVER"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(os.fspath(path))
        except PermissionError:
            yield Finding(
                "sound server",
                "wrong",
                f"{path} is shut to {_user()}: it is another user's server",
                f"run as that user; {remedy}",
            )
        except OSError as error:
            yield Finding("sound server", "wrong", f"nobody answers at {path} ({error.strerror or error})", remedy)
        else:
            yield Finding("sound server", "good", f"answers at {path}")


def _server_path(machine: Machine) -> Path | None:
    asked = os.environ.get("PULSE_SERVER", "")
    if asked:
        return Path(asked.removeprefix("unix:")) if asked.startswith(("unix:", "/")) else None
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    usual = Path(runtime) / "pulse/native" if runtime else machine.root / f"run/user/{os.getuid()}/pulse/native"
    return usual if usual.exists() else None


def microphone(machine: Machine) -> Iterator[Finding]:
    """Whether there is one, whether it is the one that was asked for, and what it hears."""
    from edge.devices import devices, find

    listed = devices()
    if not listed:
        yield Finding("microphone", "wrong", "none is to be seen", "plug one in, or start the sound server; then `auricle devices`")
        return
    try:
        chosen = find(machine.config.device, listed)
    except DeviceError as error:
        yield refused("microphone", error)
        return
    yield Finding("microphone", "good", f"{chosen.stable_name}: {chosen.rate} Hz, {chosen.channels} channels, {chosen.host_api}")
    if machine.listen_s > 0:
        yield _heard(machine)


def _heard(machine: Machine) -> Finding:
    from edge._native import level_dbfs
    from edge.microphone import Microphone
    from edge.ring import blocks
    from edge.types import SAMPLE_RATE, AudioBlock, Device

    until = time.monotonic() + machine.listen_s + 5.0
    levels: list[float] = []
    try:
        source = Microphone(machine.config.device)
    except DeviceError as error:
        return refused("hearing", error)
    try:
        for item in blocks(source, 1600):
            if isinstance(item, AudioBlock):
                levels.append(float(level_dbfs(item.samples)))
            elif isinstance(item, Device) and item.state != "open":
                return Finding(
                    "hearing",
                    "wrong",
                    f"the microphone is {item.state}: {item.detail}",
                    BUSY,
                )
            if len(levels) * 1600 >= machine.listen_s * SAMPLE_RATE or time.monotonic() > until:
                break
    finally:
        source.close()
    if not levels:
        return Finding("hearing", "wrong", "the microphone is open, but no sound comes", "plug it in again, or name another by device")
    loudest = max(levels)
    if loudest < QUIET_DBFS:
        return Finding(
            "hearing",
            "wrong",
            f"only digital silence ({loudest:.0f} dBFS)",
            UNMUTE,
        )
    if loudest > LOUD_DBFS:
        return Finding(
            "hearing",
            "note",
            f"so loud that it is cut off ({loudest:.0f} dBFS)",
            SOFTER,
        )
    return Finding("hearing", "good", f"{min(levels):.0f} to {loudest:.0f} dBFS in {machine.listen_s:g} s")


CHECKS: tuple[Check, ...] = (permissions, sound_server, microphone)
