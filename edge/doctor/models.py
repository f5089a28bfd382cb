"""The bundle: whether it is whole, fits into memory, loads, and runs where it was asked to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

from edge.doctor.finding import Check, Finding, Machine


def bundle(machine: Machine) -> Iterator[Finding]:
    """Loads everything that `auricle listen` would load. Its own errors name the remedy, and `examine` passes them on."""
    from edge.admission import needed, room
    from edge.bundle import Bundle
    from edge.pipeline import Line

    begin = time.monotonic()
    opened = Bundle.open(machine.config.bundle)
    try:
        free = room(machine.root)
        left = "" if free is None else f", {free.bytes / 1e6:.0f} MB are {free.source}"
        with closing(Line(opened, machine.config)) as line:
            took = time.monotonic() - begin
            kinds = ", ".join(f"{model.role} {model.precision} ({model.runtime})" for model in opened.manifest.models)
            yield Finding("bundle", "good", f"{opened.name} {opened.manifest.version}: {kinds}; loaded in {took:.2f} s")
            yield Finding("memory", "good", f"about {needed([opened]) / 1e6:.0f} MB are needed{left}")
            for notice in line.notices:
                yield Finding("bundle", "note", notice)
            for model in (line.encoder_model, line.decoder_model, *(line.speech_models or ())):
                for short in getattr(getattr(model, "placement", None), "shortfalls", list)():
                    yield Finding("providers", "wrong", short, "install that provider (docs/placement.md), or leave it out of providers")
    finally:
        opened.close()


CHECKS: tuple[Check, ...] = (bundle,)
