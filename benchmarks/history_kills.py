"""Does a SIGKILL lose a record that was acknowledged?

    python benchmarks/history_kills.py [--kills 2000] [--output benchmarks/results/history_kills.json]

A process keeps records of 20 to 3,000 bytes as fast as it can and says each number once it is acknowledged; it is killed after a random
time, again and again, over one database. After each kill: every acknowledged number is there, numbers run from 1 without holes; at the
end the database is checked whole. Beside it, what an acknowledgement costs.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import ROOT, finish, parser

sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "tests"))
from test_history import WRITER

from edge.serve.history import History


def cost(folder: Path, count: int = 300) -> dict[str, float]:
    kept, spent = History(folder / "cost.db"), []
    for number in range(count):
        begin = time.perf_counter()
        kept.keep({"type": "caption", "final": True, "text": f"caption {number} of a usual length, which is some sixty letters"})
        spent.append(1000 * (time.perf_counter() - begin))
    kept.close()
    p50, p99 = np.percentile(spent, [50, 99])
    return {"n": count, "p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}


def main() -> int:
    parse = parser(__doc__)
    parse.add_argument("--kills", type=int, default=2_000)
    options = parse.parse_args()
    rng, acknowledged, lost, holes = random.Random(1), 0, 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "history.db"
        for _ in range(options.kills):
            writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
            assert writer.stdout is not None
            said = [writer.stdout.readline()]
            time.sleep(rng.uniform(0, 0.05))
            writer.send_signal(signal.SIGKILL)
            said += writer.stdout.read().splitlines(keepends=True)
            writer.wait()
            writer.stdout.close()
            numbers = {int(line) for line in said if line.endswith("\n")}
            with sqlite3.connect(path) as database:
                there = {n for (n,) in database.execute("SELECT id FROM record WHERE id >= ?", (min(numbers),))}
                (count, first, last) = database.execute("SELECT count(*), min(id), max(id) FROM record").fetchone()
            database.close()
            acknowledged += len(numbers)
            lost += len(numbers - there)
            holes += count != last - first + 1  # the oldest go when the database is full
        with sqlite3.connect(path) as database:
            (sound,) = database.execute("PRAGMA integrity_check").fetchone()
        database.close()
        counted = {"kills": options.kills, "acknowledged": acknowledged, "lost": lost, "kills_with_holes": holes, "integrity": sound}
        result = {**counted, "acknowledgement": cost(folder)}
    print(result)
    bars = {"no acknowledged record lost": lost == 0, "numbers without holes": holes == 0, "database sound": sound == "ok"}
    return finish(options, result, bars)


if __name__ == "__main__":
    sys.exit(main())
