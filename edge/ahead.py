"""The one queue of the line: what precedes the encoder runs in a thread of its own, at most so far ahead of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace

from edge.types import Device, Gap, Speech, Turn, Vitals

QUEUE_LENGTH = 512
"""Events that may wait between the threads. Views of one turn take one place, so this is minutes of audio."""

Event = Turn | Speech | Gap | Device | Vitals


@dataclass(frozen=True, slots=True)
class Heard:
    """An event with the monotonic second at which the audio that it rests on was there."""

    event: Event
    available_s: float


@dataclass(slots=True)
class Backlog:
    """What waits between the threads. replaced: hops of open turns that a newer view took the place of."""

    waiting: deque[Heard] = field(default_factory=deque)
    replaced: int = 0


def ahead(events: Iterator[Heard], length: int = QUEUE_LENGTH, backlog: Backlog | None = None) -> Generator[Heard, None, None]:
    """Runs `events` in a thread of its own, at most `length` ahead of the consumer.

    A view of an open turn that still waits is replaced by the next view of it, and vitals by newer vitals; finals, speech, gaps and
    device changes are never dropped: when nothing can be replaced the listen thread waits, and the ring counts what is lost.
    """
    backlog = backlog or Backlog()
    waiting = backlog.waiting
    changed = threading.Condition()
    over = False
    failure: list[BaseException] = []

    def put(heard: Heard) -> bool:
        with changed:
            for index in range(len(waiting) - 1, -1, -1):
                if _replaces(heard.event, waiting[index].event):
                    heard = _instead(heard, waiting[index].event, backlog)
                    del waiting[index]
                    break
            while len(waiting) >= length and not over:
                changed.wait()
            waiting.append(heard)
            changed.notify_all()
            return not over

    def work() -> None:
        nonlocal over
        try:
            for heard in events:
                if not put(heard):
                    break
        except BaseException as error:  # handed to the consumer, which is the one who can tell
            failure.append(error)
        with changed:
            over = True
            changed.notify_all()

    thread = threading.Thread(target=work, name="auricle-listen", daemon=True)
    thread.start()
    try:
        while True:
            with changed:
                while not waiting and not over:
                    changed.wait()
                if not waiting:
                    break
                heard = waiting.popleft()
                changed.notify_all()
            yield heard
        if failure:
            raise failure[0]
    finally:
        with changed:
            over = True
            changed.notify_all()
        thread.join(timeout=2.0)


def _replaces(new: Event, old: Event) -> bool:
    if isinstance(new, Vitals):
        return isinstance(old, Vitals)
    return isinstance(new, Turn) and isinstance(old, Turn) and new.id == old.id and not old.final


def _instead(heard: Heard, old: Event, backlog: Backlog) -> Heard:
    """The newer view in the place of the older: where that was to be captioned, this one is."""
    if isinstance(heard.event, Turn) and isinstance(old, Turn) and old.cause == "hop":
        if heard.event.cause == "look":
            return replace(heard, event=replace(heard.event, cause="hop"))
        backlog.replaced += 1
    return heard
