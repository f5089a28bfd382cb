"""`auricle doctor`: checks this machine and these options, and says what to do about what is missing."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edge.commands import DONE, FAILED, options
from edge.commands.stdout import say
from edge.config import Config
from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.doctor import Finding

MARKS = {"good": "ok   ", "note": "note ", "wrong": "WRONG"}


def run(arguments: argparse.Namespace) -> int:
    """Prints a line for each finding and returns 0, or 1 when something that was asked for does not work."""
    from edge.doctor import Finding, Machine, examine

    found: list[Finding] = []
    try:
        importlib.import_module("edge._native")  # options are read with it already
    except ImportError as error:
        broken = Finding("native module", "wrong", f"it cannot be loaded ({error}); nothing else was checked", "install auricle again")
        say(json.dumps([asdict(broken)], indent=1)) if arguments.json else _show(broken)
        return FAILED
    try:
        config = options.config(arguments)
        found.append(Finding("options", "good", "they are understood"))
    except ConfigError as error:  # the rest is checked all the same, with the usual options
        config = Config()
        found.append(Finding("options", "wrong", str(error), "mend it; what follows was checked with the usual options"))
    if not arguments.json:
        _show(found[0])
    for finding in examine(Machine(config, listen_s=0.0 if arguments.no_microphone else 1.0)):
        found.append(finding)
        if not arguments.json:
            _show(finding)
    wrong = sum(finding.state == "wrong" for finding in found)
    if arguments.json:
        say(json.dumps([asdict(finding) for finding in found], ensure_ascii=False, indent=1))
    else:
        say(f"\n{wrong} of these must be mended." if wrong else "\nNothing is wrong.")
    if arguments.report:
        from edge.doctor.report import write

        write(Path(arguments.report), config, found)
        print(f"auricle: {arguments.report} holds no sound, no text and no secrets; look into it before you give it away", file=sys.stderr)
    return FAILED if wrong else DONE


def _show(finding: Finding) -> None:
    say(f"{MARKS[finding.state]}  {finding.about}: {finding.said}")
    if finding.remedy:
        say(f"       -> {finding.remedy}")
