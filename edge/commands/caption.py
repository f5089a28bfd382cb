"""`auricle caption`: files, as fast as the machine can; one bad file does not stop the others."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from edge.commands import DONE, FAILED, notes, options
from edge.commands.output import Output
from edge.commands.progress import Progress
from edge.commands.stderr import tell
from edge.commands.stop import Stop, Stoppable, stopped_by_signals
from edge.errors import AudioError, BackendError, OutputError
from edge.pipeline import Line
from edge.sinks import EXTENSIONS
from edge.types import Vitals


def run(arguments: argparse.Namespace) -> int:
    """Captions each file; 1 if any of them failed."""
    config = options.config(arguments)
    form = config.format or "text"
    targets = names(arguments.files, arguments.output, EXTENSIONS[form]) if arguments.output is not None else None
    several = targets is None and len(arguments.files) > 1
    failed = False
    with options.line(config) as line, stopped_by_signals() as stop, Output(form, several=several) as shared:
        for at, path in enumerate(arguments.files):
            try:
                if targets is None:
                    _one(line, path, shared, stop)
                else:
                    with Output(form, targets[at], whole=True) as own:
                        _one(line, path, own, stop)
            except (AudioError, BackendError) as error:
                tell(str(error))
                failed = True
    return FAILED if failed else DONE


def _one(line: Line, path: str, output: Output, stop: Stop) -> None:
    from edge.capture import AudioFile

    live = output.form == "live"
    heard = notes.Heard()
    with Progress(Path(path).name, shown=not live and sys.stderr.isatty()) as progress:
        source = AudioFile(path)
        progress.follow(source.ring, source.duration)
        with closing(line.run(Stoppable(source, stop))) as records:
            for record in records:
                if stop.asked:  # what it would still finish would look like the end of the file
                    break
                heard.watch(record)
                if live or not isinstance(record, Vitals):
                    with progress.aside():
                        output.write(record)
        if stop.asked:
            raise KeyboardInterrupt
    if output.form in ("text", "srt", "vtt"):
        heard.tell(Path(path).name)


def names(files: Sequence[str], folder: str | os.PathLike[str], extension: str) -> list[Path]:
    """A file of its own in `folder` for each input: NAME.EXT, NAME-2.EXT, … where inputs share a name.

    Raises: OutputError when `folder` is no folder, or when an output would replace one of the inputs.
    """
    root = Path(folder)
    if root.exists() and not root.is_dir():
        raise OutputError(f"{root} is a file, but --output names a folder here; choose another name")
    inputs = {os.path.realpath(file) for file in files}
    taken: set[str] = set()
    targets = []
    for file in files:
        stem = Path(file).stem
        name, copy = f"{stem}.{extension}", 1
        while name.casefold() in taken:
            copy += 1
            name = f"{stem}-{copy}.{extension}"
        taken.add(name.casefold())
        if os.path.realpath(root / name) in inputs:
            raise OutputError(f"{root / name} would replace an input; choose another folder for --output")
        targets.append(root / name)
    return targets
