"""What whoever helps needs to know, in one file: findings, options, versions, the machine, counts. No sound, text, secret or name."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import sqlite3
import tarfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge import __version__
from edge.doctor.finding import Finding
from edge.errors import EdgeError, OutputError

if TYPE_CHECKING:
    from edge.config import Config

PRIVATE = ("names", "web_names")
"""Options whose value may say who lives there; only whether they are set is told."""
STATUS = ("lag", "waiting", "shed", "duty", "at", "epoch")
"""Of a status record: numbers only."""


def write(path: Path, config: Config, found: Sequence[Finding]) -> None:
    """A .tar.gz with JSON files, readable by its owner alone, whole or not at all. Raises: OutputError."""
    parts = {
        "findings.json": [asdict(finding) for finding in found],
        "options.json": options(config),
        "machine.json": machine(),
        "versions.json": dict(sorted((d.metadata["Name"], d.version) for d in distributions())),
        "running.json": running(config),
        "history.json": kept(config),
    }
    part = path.with_name(path.name + ".part")
    try:
        with tarfile.open(part, "w:gz") as archive:
            for name, content in parts.items():
                data = json.dumps(anonymous(content, config), ensure_ascii=False, indent=1, default=str).encode()
                entry = tarfile.TarInfo(f"auricle-report/{name}")
                entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
                archive.addfile(entry, io.BytesIO(data))
        os.chmod(part, 0o600)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"report {path}: it cannot be written ({error.strerror or error}); name another place") from None


def anonymous(content: Any, config: Config) -> Any:
    """The same without what says who lives there: in its texts the home folder is ~, its user USER, and what private options hold NAME."""
    home = os.path.expanduser("~")
    private = [word.strip() for name in PRIVATE for word in str(getattr(config, name) or "").split(",")]
    user = os.environ.get("USER") or os.path.basename(home)
    words = {word: "NAME" for word in private if word} | ({} if user in ("", "~", "root", "auricle") else {user: "USER"})
    instead = [(rf"{re.escape(home)}(?![\w.-])", "~")] if home not in ("/", "~") else []
    instead += [(rf"(?<!\w){re.escape(word)}(?!\w)", name) for word, name in words.items()]

    def told(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: told(value) for key, value in part.items()}
        if isinstance(part, list | tuple):
            return [told(value) for value in part]
        if isinstance(part, str):
            for pattern, name in instead:
                part = re.sub(pattern, name, part, flags=re.IGNORECASE)
        return part

    return told(content)


def options(config: Config) -> dict[str, Any]:
    """Every option; of private ones only whether they are set."""
    told = asdict(config)
    return told | {name: "set" if told[name] else None for name in PRIVATE}


def machine() -> dict[str, Any]:
    """Processor, memory, system."""
    told: dict[str, Any] = {"auricle": __version__, "python": platform.python_version(), "system": platform.platform()}
    told["cores"] = len(os.sched_getaffinity(0))
    for name, path, keys in (
        ("processor", "/proc/cpuinfo", ("model name", "Model", "Features", "flags")),
        ("memory", "/proc/meminfo", ("MemTotal", "MemAvailable", "SwapTotal")),
    ):
        try:
            lines = Path(path).read_text().splitlines()
        except OSError:
            continue
        pairs = (line.partition(":") for line in lines)
        told[name] = {key.strip(): value.strip() for key, _, value in pairs if key.strip() in keys}
    for name in ("/etc/os-release", "/proc/device-tree/model", "/etc/nv_tegra_release"):
        try:
            told[name] = Path(name).read_text(errors="replace").strip("\0\n")
        except OSError:
            continue
    return told


def running(config: Config) -> dict[str, Any]:
    """How the running server stands, in numbers."""
    from edge.serve.client import lines, usual_path

    path = Path(config.socket) if config.socket else usual_path()
    try:
        status = next(lines(path, {"op": "status"}, timeout_s=3.0))
    except (EdgeError, StopIteration) as error:
        return {"server": str(error) or "it said nothing"}
    return {key: status[key] for key in STATUS if key in status}


def kept(config: Config) -> dict[str, Any]:
    """How many records of each kind the history holds, and from when to when."""
    from edge.serve.history import usual_path

    path = Path(config.history_path) if config.history_path else usual_path()
    if not path.exists():
        return {"history": "there is none"}
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)) as database:
            rows = database.execute("SELECT kind, count(*), min(unix), max(unix) FROM record GROUP BY kind").fetchall()
    except sqlite3.Error as error:
        return {"history": f"it cannot be read ({error})"}
    return {kind: {"records": count, "from_unix": first, "to_unix": last} for kind, count, first, last in rows}
