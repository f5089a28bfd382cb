"""`auricle ask`: one question about a file, about several as one, or about what the running `auricle serve` has just heard."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.commands import DONE, options
from edge.commands.stdout import say
from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.ask import Clip

SECONDS = "a number of seconds"


def run(arguments: argparse.Namespace) -> int:
    """Prints the answer as one line, as it comes on a terminal, or with --json as one object; with --through one for each window, with
    --each one for each turn.

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
        _running(question, config.socket, last_s, arguments.each, arguments.json)
        return DONE
    if arguments.each:
        raise ConfigError("--each asks the running listener; leave it out, or give files --through")
    with options.line(config) as line:
        clip = line.hear([AudioFile(file) for file in arguments.files], question)
        if window_s is not None:
            _through(clip, question, window_s, arguments.json)
        else:
            _once(clip, question, arguments.json)
    return DONE


def _running(question: str, socket: str | None, last_s: float, each: bool, as_json: bool) -> None:
    from edge.serve.client import ask, ask_each, usual_path

    path = Path(socket) if socket else usual_path()
    if not each:
        answer = ask(path, question, last_s)
        say(json.dumps(answer, ensure_ascii=False) if as_json else answer["text"])
        return
    for answer in ask_each(path, question, last_s):
        say(json.dumps(answer, ensure_ascii=False) if as_json else _spanned(answer))


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
    from edge.sinks.record import answer_as_dict, as_dict

    for answer in clip.through(question, window_s):
        shown = answer_as_dict(question, answer)
        say(json.dumps(shown, ensure_ascii=False) if as_json else _spanned(shown))
    for sound in clip.sounds if as_json else ():
        say(json.dumps(as_dict(sound), ensure_ascii=False))


def _spanned(answer: dict[str, Any]) -> str:
    from edge.sinks.record import clock

    span = " to ".join(clock(round(1000 * answer[key])) for key in ("start", "end"))
    return f"{span}  {answer['text'] or '(no answer)'}"


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
