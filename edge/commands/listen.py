"""`auricle listen`: one stream, live, until it ends or someone stops it."""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from edge.commands import DONE, INTERRUPTED, options
from edge.commands.output import Output
from edge.commands.stderr import tell
from edge.commands.stop import Stoppable, stopped_by_signals
from edge.errors import ConfigError
from edge.types import Device, Gap, Source

if TYPE_CHECKING:
    from edge.config import Config


def run(arguments: argparse.Namespace) -> int:
    """Writes records until the source ends (0), or until SIGINT or SIGTERM, after which what is open is still finished (130)."""
    config = options.config(arguments)
    form = config.format or "live"
    if arguments.input and arguments.output and _same(arguments.input, arguments.output):
        raise ConfigError(f"--output {arguments.output} is the file that --input names and would be lost; choose another name")
    with ExitStack() as stack:
        # A wrong file name is told at once; a microphone is opened only when somebody can listen to it.
        source = source_of(arguments.input, config) if arguments.input else None
        if source is not None:
            stack.callback(source.close)
        line = stack.enter_context(options.line(config))
        if source is None:
            source = source_of(None, config)
            stack.callback(source.close)
        stop = stack.enter_context(stopped_by_signals())
        output = stack.enter_context(Output(form, arguments.output))
        with closing(line.run(Stoppable(source, stop))) as records:
            for record in records:
                output.write(record)
                if form not in ("live", "jsonl") and isinstance(record, (Device, Gap)):
                    tell_of(record)
    return INTERRUPTED if stop.asked else DONE


def _same(one: str, other: str) -> bool:
    """True if both names mean one file, whatever links lead there."""
    try:
        return os.path.samefile(one, other)
    except OSError:  # one of them is not there yet
        return os.path.realpath(one) == os.path.realpath(other)


def source_of(path: str | None, config: Config, wait: bool = False) -> Source:
    """A file at the speed of real time, or without one the microphone. wait: begin without it where it is not there. Raises: AudioError."""
    if path is not None:
        from edge.capture import AudioFile

        return AudioFile(path, realtime=True)
    from edge.capture import Microphone

    return Microphone(config.device, wait=wait)


def tell_of(record: Device | Gap) -> None:
    """On standard error: what has no place for losses must not hide them."""
    from edge.sinks.record import as_dict

    shown = as_dict(record)
    if isinstance(record, Gap):
        text = f"{shown['end'] - shown['start']:.3f} s were lost at {shown['start']:.3f} s ({record.reason})"
    else:
        text = f"{shown['name']}: {record.state}" + (f", {shown['detail']}" if record.detail else "")
    tell(text)
