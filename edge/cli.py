"""The command line: flags become a config, the config becomes objects, and every failure becomes one sentence and an exit code.

Exit codes: 0 done, 1 the world failed (device, file, bundle, backend, output), 2 wrong usage, 130 interrupted. Only what the interpreter
has loaded anyway is imported here at the top, so that the signals are taken before anything that lasts.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from edge.commands.parser import Parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. argv: without the program's name; None for the process's own.

    Signals are taken only from a process that is ours, that is where argv is None.
    """
    if argv is None:
        _end_at_once_on_signals()
    _replace_closed_streams()
    from edge.commands import DONE, FAILED, INTERRUPTED, USAGE
    from edge.errors import ConfigError, EdgeError

    try:
        return _run(argv)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left, as `head` does: nothing is left to do, and nobody to tell.
        _silence_stdout()
        return DONE
    except ConfigError as error:
        return _say(str(error), USAGE)
    except EdgeError as error:
        return _say(str(error), FAILED)
    except MemoryError:
        return _say("there is not enough memory; close other programs or choose a smaller bundle", FAILED)
    except OSError as error:
        return _say(f"the system refused ({error}); free or repair what it names", FAILED)
    except Exception as error:  # a defect of ours, but still a sentence for whoever is in front of it
        if os.environ.get("AURICLE_DEBUG"):
            raise
        what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return _say(f"this is a defect in auricle ({what}); run it again with AURICLE_DEBUG=1 and report what it prints", FAILED)


def parser() -> Parser:
    """Every verb and flag."""
    from edge.commands.parser import parser

    return parser()


def _run(argv: Sequence[str] | None) -> int:
    from importlib import import_module

    from edge.commands.stdout import flush

    _speak_utf8()
    try:
        arguments = parser().parse_args(argv)
    except SystemExit as said:  # --help, --version or wrong usage, which argparse has told already
        code = said.code
    else:
        code = import_module(f"edge.commands.{arguments.verb}").run(arguments)
    flush()
    assert isinstance(code, int)
    return code


def _say(sentence: str, code: int) -> int:
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _silence_stdout()
    print(f"auricle: {sentence}", file=sys.stderr)
    return code


def _replace_closed_streams() -> None:
    """A stream that the caller has closed (`>&-`) is None in Python, and the next file to be opened would take its number.

    Instead: nothing to read, an output that refuses every write, and a stderr that nobody reads. os.open takes the lowest free number.
    """
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def _speak_utf8() -> None:
    # The contract says UTF-8, whatever the locale; what cannot be said on a narrow stderr is escaped.
    for stream, errors in ((sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors=errors, newline="\n")


def _end_at_once_on_signals() -> None:
    """Until a verb takes the signals itself nothing is open that would have to be finished.

    KeyboardInterrupt will not do here: raised inside an import or a callback of a library it is lost, or comes out as something else.
    """

    def end(number: int, frame: FrameType | None) -> None:
        archive = sys.modules.get("edge.archive")
        if archive is not None and hasattr(archive, "forget_what_was_laid_out"):
            archive.forget_what_was_laid_out()
        try:
            os.write(2, b"auricle: interrupted\n")
        finally:
            os._exit(130)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def _silence_stdout() -> None:
    """What is still buffered would fail again, with a message of the interpreter's, when the process ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        sys.stdout = None


if __name__ == "__main__":
    sys.exit(main())
