"""`auricle serve`: one process that listens, and tells every program that asks."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.commands import DONE, INTERRUPTED, options
from edge.commands.listen import source_of, tell_of
from edge.commands.stderr import tell
from edge.commands.stop import Stoppable, stopped_by_signals
from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.config import Config
    from edge.pipeline import Line
    from edge.serve.broadcast import Broadcast
    from edge.serve.history import History
    from edge.serve.notify import Notify
    from edge.serve.transcriptions import Transcriptions
    from edge.serve.web import Ask, Vital


def run(arguments: argparse.Namespace) -> int:
    """Serves until the source ends (0), or until SIGINT or SIGTERM, after which what is open is still finished and told (130)."""
    config = options.config(arguments)
    if arguments.repeat and not arguments.input:
        raise ConfigError("--repeat plays a file again and again; name one with --input, or leave it out")
    from edge.ask import plain
    from edge.serve.broadcast import Broadcast
    from edge.serve.client import usual_path
    from edge.serve.local_socket import LocalSocket
    from edge.serve.notify import Notify
    from edge.serve.web import Vital
    from edge.sinks.record import answer_as_dict

    with ExitStack() as stack:
        source = source_of(arguments.input, config) if arguments.input else None  # a wrong file name is told at once
        if source is not None:
            stack.callback(source.close)
        line = stack.enter_context(options.line(config))
        stop = stack.enter_context(stopped_by_signals())
        broadcast, notify = Broadcast(), Notify()
        stack.callback(notify.close)

        def ask(question: str, last_s: float) -> dict[str, Any]:
            return answer_as_dict(plain(question), line.recall(question, last_s))

        def ask_each(question: str, last_s: float) -> Iterator[dict[str, Any]]:
            return (answer_as_dict(plain(question), answer) for answer in line.recall_through(question, last_s))

        history = _history(config)
        if history is not None:
            stack.callback(history.close)
        place = Path(config.socket) if config.socket else usual_path()
        stack.enter_context(LocalSocket(place, broadcast, ask, ask_each))
        vital = Vital()
        _voice(stack, config)
        pages = "" if config.web is None else f" and http://{_web(stack, config, broadcast, ask, vital)}"
        tell(f"serving on {place}{pages}")
        notify.ready(f"serving on {place}{pages}")
        if source is None:
            source = source_of(None, config, wait=True)
            stack.callback(source.close)
        _publish(line, Stoppable(source, stop), broadcast, history, vital, notify)
        while arguments.repeat and not stop.asked:
            _publish(line, Stoppable(source_of(arguments.input, config), stop), broadcast, history, vital, notify)
        notify.stopping()
    return INTERRUPTED if stop.asked else DONE


def _history(config: Config) -> History | None:
    if config.history == "off":
        return None
    from edge.serve.history import History, usual_path

    path = Path(config.history_path) if config.history_path else usual_path()
    return History(path, config.history, config.history_days, config.history_mb)


def _voice(stack: ExitStack, config: Config) -> None:
    if config.wyoming is None:
        return
    from edge.serve.access import address
    from edge.serve.voice import Voice

    # An assistant is to be given words: of a bundle that transcribes those alone, without sounds in brackets.
    words = replace(config, bundle=config.speech or config.bundle, speech=None)
    host, port = address(config.wyoming, "wyoming")
    voice = Voice(_transcriptions(stack, words), host, port, words.bundle)
    stack.callback(voice.close)
    tell(f"Wyoming on {host}:{voice.port}")


def _transcriptions(stack: ExitStack, config: Config) -> Transcriptions:
    from edge.serve.transcriptions import Transcriptions

    made = Transcriptions(config)
    stack.callback(made.close)
    return made


def _web(stack: ExitStack, config: Config, broadcast: Broadcast, ask: Ask, vital: Vital) -> str:
    """Serves pages until the end of the block; returns where."""
    from edge.serve.access import address, token_of
    from edge.serve.web import Web, application

    host, port = address(config.web or "")
    token = token_of(config.token_file)
    web = Web(application(broadcast, ask, vital, _transcriptions(stack, config).routes()), host, port, token, config.web_names or "")
    stack.callback(web.close)
    stack.callback(broadcast.close)  # readers have the end of the stream before the server ends
    return f"[{host}]:{web.port}" if ":" in host else f"{host}:{web.port}"


def _publish(line: Line, source: Stoppable, broadcast: Broadcast, history: History | None, vital: Vital, notify: Notify) -> None:
    from edge.sinks.record import as_dict
    from edge.types import Device, Gap, Vitals

    with closing(line.run(source)) as records:
        for record in records:
            if isinstance(record, Vitals):
                vital.processed(record.at, record.level_dbfs, record.floor_dbfs)
                notify.progressed()
                continue
            if isinstance(record, (Device, Gap)):  # of an outage they tell as long as the microphone is being looked for
                notify.progressed()
            if isinstance(record, Device):
                tell_of(record)
            told = as_dict(record)
            if history is not None:
                told = history.keep(told)
                while history.notices:
                    tell(history.notices.pop(0))
            broadcast.publish(told)
