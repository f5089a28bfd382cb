"""`auricle models`: the catalogue, and what of it is on this machine."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from edge import catalogue
from edge.bundle import Bundle
from edge.catalogue import Entry
from edge.commands import DONE, FAILED
from edge.commands.stderr import tell
from edge.commands.stdout import say
from edge.errors import BundleError


def run(arguments: argparse.Namespace) -> int:
    """Runs one of list, pull, verify, rm, add. Raises: BundleError naming what is wrong."""
    return int({"list": _list, "pull": _pull, "verify": _verify, "rm": _rm, "add": _add}[arguments.action](arguments))


def _list(arguments: argparse.Namespace) -> int:
    here = {path.name: "ships" for path in sorted(catalogue.shipped().iterdir()) if path.is_dir()}
    here |= dict.fromkeys(catalogue.pulled(), "pulled")
    known = catalogue.entries()
    names = [*here, *(name for name in known if name not in here)]
    if arguments.json:
        rows = [{"name": name, "state": here.get(name, ""), **(asdict(known[name]) if name in known else {})} for name in names]
        say(json.dumps(rows, ensure_ascii=False, indent=1))
        return DONE
    for name in names:
        if name in known:
            e = known[name]
            size = f"{e.parameters_m} M parameters, " if e.parameters_m else ""
            needs = f", needs auricle[{e.needs.replace(' ', '')}]" if e.needs else ""
            said = f"{e.about or 'a bundle'}; {size}{e.licence}; {e.repository}@{e.revision}{needs}"
        else:
            said = "a bundle"
        say(f"{here.get(name, '-'):<7} {name:<24} {said}")
    return DONE


def _pull(arguments: argparse.Namespace) -> int:
    name, entry = arguments.name, catalogue.entry(arguments.name)
    if not entry.recipe:
        from edge.hub import pull

        say(f"{name} lies in {pull(name, entry, tell, arguments.offline)}")
        return DONE
    # The toolchain is a program of its own: nothing of it is imported here.
    out = catalogue.home() / name
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "export.cli", "build", entry.repository, "--recipe", entry.recipe, "--out", str(out)]
    command += ["--revision", entry.revision, "--licence", entry.licence]
    if arguments.offline:
        raise BundleError(f"model {name}: it is built from {entry.repository}, which needs the hub; leave --offline out")
    return DONE if subprocess.run(command, check=False).returncode == 0 else FAILED


def _verify(arguments: argparse.Namespace) -> int:
    path = catalogue.place(arguments.name)
    if path is None:
        raise BundleError(f"model {arguments.name!a}: it is not on this machine; `auricle models pull {arguments.name}` fetches it")
    bundle = Bundle.open(path)
    try:
        count = len(bundle.manifest.models)
        say(f"{bundle.name} {bundle.version}: {count} files, every size and sha256 as listed")
    finally:
        bundle.close()
    return DONE


def _rm(arguments: argparse.Namespace) -> int:
    from edge.hub import remove

    name = arguments.name
    if (Path(catalogue.shipped()) / name).is_dir():
        raise BundleError(f"model {name}: it comes with auricle and is not removed")
    known = catalogue.forget(name)
    try:
        remove(name)
    except BundleError:
        if not known:
            raise
    say(f"{name} was removed")
    return DONE


def _add(arguments: argparse.Namespace) -> int:
    catalogue.add(
        arguments.name, Entry(arguments.repository, arguments.recipe, arguments.revision, arguments.licence, about=arguments.about)
    )
    say(f"{arguments.name} is in the catalogue; `auricle models pull {arguments.name}` fetches it")
    return DONE
