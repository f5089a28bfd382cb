"""`auricle devices`: the microphones of this machine."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from edge.commands import DONE
from edge.commands.stdout import say
from edge.devices import devices


def run(arguments: argparse.Namespace) -> int:
    """Prints a table, or with --json one array. Raises: DeviceError when the audio library is absent."""
    found = devices()
    if arguments.json:
        say(json.dumps([{**asdict(device), "stable_name": device.stable_name} for device in found], ensure_ascii=False, indent=1))
    elif not found:
        say("no microphone; plug one in, or start the sound server")
    for device in [] if arguments.json else found:
        mark = "*" if device.is_default else " "
        say(f"{mark} {device.stable_name}  {device.rate} Hz, {device.channels} ch, {device.host_api}")
    return DONE
