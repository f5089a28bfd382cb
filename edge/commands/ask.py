"""`auricle ask`: one question about a file, about several as one, or about what the running `auricle serve` has just heard."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge.commands import DONE, options
from edge.commands.stdout import say
from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.ask import Clip

SECONDS = "a number of seconds"


def run(arguments: argparse.Namespace) -> int:
    """Prints the answer as one line, as it comes on a terminal, or with --json as one object; with --through one for each window.

    Raises: ConfigError without a question; EdgeError.
    """
    config = options.config(arguments)

    from edge.ask import plain
    from edge.capture import AudioFile

    try:
        question = plain(arguments.question)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    window_s = None if arguments.through is None else options.number("--through", arguments.through, 1, 86_400, SECONDS)
    if not arguments.files:
        if window_s is not None:
            raise ConfigError("--through needs files; leave it out to ask the running listener")
        last_s = options.number("--last", arguments.last or "60", 1, 86_400, SECONDS)
        _running(question, config.socket, last_s, arguments.json)
        return DONE
    with options.line(config) as line:
        clip = line.hear([AudioFile(file) for file in arguments.files], question)
        if window_s is not None:
            _through(clip, question, window_s, arguments.json)
        else:
            _once(clip, question, arguments.json)
    return DONE


def _running(question: str, socket: str | None, last_s: float, as_json: bool) -> None:
    from edge.serve.client import ask
    from edge.serve.local_socket import usual_path

    answer = ask(Path(socket) if socket else usual_path(), question, last_s)
    say(json.dumps(answer, ensure_ascii=False) if as_json else answer["text"])


def _once(clip: Clip, question: str, as_json: bool) -> None:
    from edge.sinks.record import answer_as_dict

    if as_json:
        say(json.dumps(answer_as_dict(question, clip.ask(question), clip.parts), ensure_ascii=False))
    elif sys.stdout.isatty():
        _Spoken().tell(clip, question)
    else:
        say(answer_as_dict(question, clip.ask(question))["text"])


def _through(clip: Clip, question: str, window_s: float, as_json: bool) -> None:
    """Each answer as it is there; with --json the sounds of the whole clip behind them."""
    from edge.sinks.record import answer_as_dict, as_dict, clock, milliseconds

    for answer in clip.through(question, window_s):
        shown = answer_as_dict(question, answer)
        span = f"{clock(milliseconds(answer.start))} to {clock(milliseconds(answer.stop))}"
        say(json.dumps(shown, ensure_ascii=False) if as_json else f"{span}  {shown['text'] or '(no answer)'}")
    for sound in clip.sounds if as_json else ():
        say(json.dumps(as_dict(sound), ensure_ascii=False))


class _Spoken:
    """An answer on a terminal, word by word as it comes."""

    def __init__(self) -> None:
        self._written = ""

    def tell(self, clip: Clip, question: str) -> None:
        from edge.sinks.record import answer_as_dict

        whole = answer_as_dict(question, clip.ask(question, tell=self._more))["text"]
        say(whole[len(self._written) :])

    def _more(self, text: str) -> None:
        from edge.sinks.record import printable

        shown = printable(text)
        if shown.startswith(self._written) and not shown.endswith("\ufffd"):
            sys.stdout.write(shown[len(self._written) :])
            sys.stdout.flush()
            self._written = shown
