"""Where a command's records go: standard output, or a file that appears only when there is something true to put into it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO

from edge.commands.stdout import refusal
from edge.sinks import Sink, open_sink
from edge.types import Record, Vitals

Records = Generator[Record | Vitals, None, None]
"""What Line.run gives; closing it closes its source."""


class Output:
    """A sink and its stream, opened at the first record, so that what fails before writes nothing.

    path: None for standard output, which stays open. whole: the file appears under its name only when the block ends without an error.
    Raises: OutputError naming the file and the cause; BrokenPipeError when the reader of standard output has left.
    """

    def __init__(self, form: str, path: str | os.PathLike[str] | None = None, whole: bool = False, several: bool = False) -> None:
        self.form, self._several, self._whole = form, several, whole
        self._path = None if path is None else Path(path)
        self._where = None if path is None else os.fspath(path)
        self._written: Path | None = None
        self._stream: TextIO | None = None
        self._sink: Sink | None = None

    def __enter__(self) -> Output:
        return self

    def write(self, record: Record | Vitals) -> None:
        try:
            if self._sink is None:
                self._open()
            assert self._sink is not None
            self._sink.write(record)
        except OSError as error:
            raise refusal(error, self._where) from error

    def _open(self) -> None:
        self._stream = sys.stdout
        if self._path is not None:
            if self._whole:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                # Beside its final place, so that the renaming is atomic.
                number, name = tempfile.mkstemp(prefix=f".{self._path.name}.", suffix=".part", dir=self._path.parent)
                self._written = Path(name)
                mask = os.umask(0)
                os.umask(mask)
                os.fchmod(number, 0o666 & ~mask)
                self._stream = open(number, "w", encoding="utf-8", errors="replace", newline="\n")  # noqa: SIM115 - closed in __exit__
            else:
                self._stream = open(self._path, "w", encoding="utf-8", errors="replace", newline="\n")  # noqa: SIM115
        self._sink = open_sink(self.form, self._stream, self._several)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self._sink is not None:
                self._sink.close()
            if self._path is not None and self._stream is not None:
                self._stream.close()
                if self._written is not None and error is None:
                    os.replace(self._written, self._path)
                    self._written = None
        except OSError as failure:
            if error is None:
                raise refusal(failure, self._where) from failure
        finally:
            if self._written is not None:
                with suppress(OSError):
                    self._written.unlink()
