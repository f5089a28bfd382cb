"""From parsed flags to a Config and to the line that it describes."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge.commands.stderr import tell
from edge.config import SETTINGS, Config, load
from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.pipeline import Line


def config(arguments: argparse.Namespace) -> Config:
    """The options of a verb that takes them. Raises: ConfigError."""
    words = {key.rpartition(".")[2] for key in SETTINGS}
    flags = {name: value for name, value in vars(arguments).items() if name in words}
    return load(arguments.config, os.environ, flags)


def number(flag: str, text: str, low: float, high: float, kind: str = "a number", whole: bool = False) -> float:
    """The number that a verb's own flag was given. kind: what it must be, for the message. Raises: ConfigError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high or (whole and not value.is_integer()):
        raise ConfigError(f"{flag} is {text!r}, but must be {kind} from {low:g} to {high:.0f}")
    return value


@contextmanager
def line(options: Config) -> Iterator[Line]:
    """The models of options.bundle, loaded until the end of the block. Raises: BundleError, BackendError."""
    from edge.bundle import Bundle
    from edge.pipeline import Line

    bundle = Bundle.open(options.bundle)
    try:
        loaded = Line(bundle, options)
        for model in (loaded.encoder_model, loaded.decoder_model, *(loaded.speech_models or ())):
            for short in getattr(getattr(model, "placement", None), "shortfalls", list)():
                tell(f"{getattr(model, 'name', 'model')}: {short}")
        for notice in loaded.notices:
            tell(notice)
        try:
            yield loaded
        finally:
            loaded.close()
    finally:
        bundle.close()
