"""The command line: flags become a config, the config becomes objects, and every failure becomes one sentence and an exit code.

Exit codes: 0 done, 1 the world failed (device, file, bundle, backend, output), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from types import FrameType
from typing import NoReturn

from edge import __version__
from edge.commands import DONE, FAILED, INTERRUPTED, USAGE
from edge.config import SETTINGS
from edge.errors import ConfigError, EdgeError
from edge.sinks import FORMATS

_VERBS = {
    "listen": (
        "captions what a microphone hears, or a file at the speed of real time",
        "example:\n  auricle listen\n  auricle listen --input kitchen.wav --format jsonl --output kitchen.jsonl",
    ),
    "caption": (
        "captions files as fast as the machine can",
        "example:\n  auricle caption kitchen.wav\n  auricle caption *.flac --format srt --output subtitles",
    ),
    "devices": ("lists the microphones", "example:\n  auricle devices --json"),
    "inspect": (
        "checks a bundle and shows what is inside",
        "example:\n  auricle inspect starter\n  auricle inspect ./my-bundle.tar --json",
    ),
}


class Parser(argparse.ArgumentParser):
    """argparse, whose errors are one sentence and which takes no abbreviations."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def parser() -> Parser:
    """Every verb and flag; importing this imports no model runtime and no numpy."""
    top = Parser(prog="auricle", description="Hears speech and sounds and says what it hears, on this machine alone.", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"auricle {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    made = {}
    for name, (about, example) in _VERBS.items():
        made[name] = verbs.add_parser(
            name, help=about, description=about, epilog=example, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
        )
    listen, caption = made["listen"], made["caption"]
    door = listen.add_mutually_exclusive_group()
    door.add_argument("--input", metavar="FILE", help="a sound file instead of a microphone, played at the speed of real time")
    door.add_argument("--device", metavar="NAME", help=SETTINGS["device"].about)
    listen.add_argument("--output", metavar="FILE", help="write there instead of to the terminal")
    caption.add_argument("files", metavar="FILE", nargs="+", help="a sound file: any format, rate and channels that libsndfile reads")
    caption.add_argument("--output", metavar="DIR", help="write one file for each FILE there, whole or not at all")
    for verb, usual in ((listen, "live"), (caption, "text")):
        verb.add_argument("--format", metavar="FORMAT", choices=FORMATS, help=f"{', '.join(FORMATS)} (usual: {usual})")
        _add_options(verb)
    made["devices"].add_argument("--json", action="store_true", help="one JSON array, for programs")
    made["inspect"].add_argument("bundle", metavar="BUNDLE", help="a name that ships with auricle (starter), a folder or a tar")
    made["inspect"].add_argument("--json", action="store_true", help="one JSON object, for programs")
    return top


def _add_options(verb: Parser) -> None:
    verb.add_argument("--config", metavar="FILE", help="TOML file with any of these options (also: AURICLE_CONFIG)")
    gate = verb.add_argument_group("when to listen")
    for key, setting in SETTINGS.items():
        section, _, word = key.rpartition(".")
        if word in ("device", "format"):
            continue
        usual = "" if setting.default is None or "usual" in setting.about else f" (usual: {setting.default})"
        flag = "--" + word.replace("_", "-")
        (gate if section else verb).add_argument(flag, metavar=word.rpartition("_")[2].upper(), help=setting.about + usual)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. argv: without the program's name; None for the process's own."""
    try:
        arguments = parser().parse_args(argv)
        _speak_utf8()
        _end_cleanly_on_sigterm()
        run = import_module(f"edge.commands.{arguments.verb}").run
        code: int = run(arguments)
        sys.stdout.flush()
        return code
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
        _silence_stdout()
        return _say(f"the system refused ({error}); free or repair what it names", FAILED)
    except Exception as error:  # a defect of ours, but still a sentence for whoever is in front of it
        if os.environ.get("AURICLE_DEBUG"):
            raise
        what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return _say(f"this is a defect in auricle ({what}); run it again with AURICLE_DEBUG=1 and report what it prints", FAILED)


def _say(sentence: str, code: int) -> int:
    print(f"auricle: {sentence}", file=sys.stderr)
    return code


def _speak_utf8() -> None:
    # The contract says UTF-8, whatever the locale; what cannot be said on a narrow stderr is escaped.
    for stream, errors in ((sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors=errors, newline="\n")


def _end_cleanly_on_sigterm() -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with suppress(ValueError):  # not the main thread: then signals are the embedding program's affair
        signal.signal(signal.SIGTERM, interrupt)


def _silence_stdout() -> None:
    """What is still buffered would fail again, with a message of the interpreter's, when the process ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = None


if __name__ == "__main__":
    sys.exit(main())
