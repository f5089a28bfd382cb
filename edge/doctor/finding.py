"""What one check found, and the order in which all of them are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.config import Config

State = Literal["good", "note", "wrong"]
"""note: it works, though something is missing or could be better. wrong: something that was asked for does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """about: what was looked at, in a word or two. said: what was found, in one sentence. remedy: what to do; "" for nothing."""

    about: str
    state: State
    said: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """What checks look at. root: where dev, proc, run and sys lie. listen_s: for how long a microphone is heard, 0 for not at all."""

    config: Config
    root: Path = Path("/")
    listen_s: float = 1.0


Check = Callable[[Machine], Iterator[Finding]]


def refused(about: str, error: EdgeError | OSError) -> Finding:
    """What an error of ours says; its sentence names the remedy behind a semicolon or colon."""
    said, _, remedy = str(error).rpartition("; ")
    if not said:
        said, _, remedy = str(error).partition(": ")
    return Finding(about, "wrong", said, remedy)


def examine(machine: Machine) -> Iterator[Finding]:
    """Every check in its order. A check that fails by itself is a finding too, and the next is made."""
    from edge.doctor import models, serving, sound, system

    checks: tuple[Check, ...] = (*system.CHECKS, *sound.CHECKS, *models.CHECKS, *serving.CHECKS)
    for check in checks:
        about = check.__name__.replace("_", " ")
        try:
            yield from check(machine)
        except (EdgeError, OSError) as error:
            yield refused(about, error)
