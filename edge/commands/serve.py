"""`auricle serve`: one process that listens, and tells every program that asks."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.commands import DONE, INTERRUPTED, options
from edge.commands.listen import source_of
from edge.commands.stop import Stoppable, stopped_by_signals

if TYPE_CHECKING:
    from edge.config import Config
    from edge.pipeline import Line
    from edge.serve.broadcast import Broadcast
    from edge.serve.history import History


def run(arguments: argparse.Namespace) -> int:
    """Serves until the source ends (0), or until SIGINT or SIGTERM, after which what is open is still finished and told (130)."""
    config = options.config(arguments)
    from edge.ask import plain
    from edge.serve.broadcast import Broadcast
    from edge.serve.local_socket import LocalSocket, usual_path
    from edge.sinks.record import answer_as_dict

    with ExitStack() as stack:
        source = source_of(arguments.input, config) if arguments.input else None  # a wrong file name is told at once
        if source is not None:
            stack.callback(source.close)
        line = stack.enter_context(options.line(config))
        stop = stack.enter_context(stopped_by_signals())
        broadcast = Broadcast()

        def ask(question: str, last_s: float) -> dict[str, Any]:
            return answer_as_dict(plain(question), line.recall(question, last_s))

        history = _history(config)
        if history is not None:
            stack.callback(history.close)
        place = Path(config.socket) if config.socket else usual_path()
        stack.enter_context(LocalSocket(place, broadcast, ask))
        print(f"auricle: serving on {place}", file=sys.stderr, flush=True)
        if source is None:
            source = source_of(None, config)
            stack.callback(source.close)
        _publish(line, Stoppable(source, stop), broadcast, history)
        while arguments.input and arguments.repeat and not stop.asked:
            _publish(line, Stoppable(source_of(arguments.input, config), stop), broadcast, history)
    return INTERRUPTED if stop.asked else DONE


def _history(config: Config) -> History | None:
    if config.history == "off":
        return None
    from edge.serve.history import History, usual_path

    path = Path(config.history_path) if config.history_path else usual_path()
    return History(path, config.history, config.history_days, config.history_mb)


def _publish(line: Line, source: Stoppable, broadcast: Broadcast, history: History | None) -> None:
    from edge.sinks.record import as_dict
    from edge.types import Vitals

    with closing(line.run(source)) as records:
        for record in records:
            if isinstance(record, Vitals):
                continue
            told = as_dict(record)
            if history is not None:
                told = history.keep(told)
                while history.notices:
                    print(f"auricle: {history.notices.pop(0)}", file=sys.stderr, flush=True)
            broadcast.publish(told)
