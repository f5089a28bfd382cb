"""`auricle ask`: one question about one file."""

from __future__ import annotations

import argparse
import json

from edge.commands import DONE, options
from edge.commands.stdout import say
from edge.errors import ConfigError


def run(arguments: argparse.Namespace) -> int:
    """Prints the answer as one line, or with --json as one object. Raises: ConfigError without a file or a question; EdgeError."""
    if arguments.file is None:
        raise ConfigError("asking the running listener is not built yet; name a sound file: auricle ask QUESTION FILE")
    config = options.config(arguments)

    from edge.ask import plain
    from edge.capture import AudioFile
    from edge.sinks.record import answer_as_dict

    try:
        question = plain(arguments.question)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    with options.line(config) as line:
        answer = answer_as_dict(question, line.ask(AudioFile(arguments.file), question))
    say(json.dumps(answer, ensure_ascii=False) if arguments.json else answer["text"])
    return DONE
