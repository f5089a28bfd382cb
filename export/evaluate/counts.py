"""One to four barks, knocks, beeps …: does the caption say how many?"""

from __future__ import annotations

from collections import Counter
from typing import Any

from export.evaluate.ear import Ear, final_text
from export.evaluate.exam import Exam
from export.evaluate.figure import Judged, share_of
from export.evaluate.peer import Peer
from export.evaluate.progress import told
from export.train.labels import COUNTED
from export.train.language import read

EACH = 10
MOST = 4


def items(exam: Exam) -> list[tuple[str, int, int]]:
    """(label, how many, which) of every scene, in the order in which they are examined."""
    return [(label, times, k) for k in range(exam.of(EACH)) for label in COUNTED for times in range(1, MOST + 1)]


def said_count(text: str, label: str) -> int:
    """How many single events of the label the caption speaks of; 5 for "many times", 0 where it is not named."""
    return sum(sound.count for sound in read(text) if sound.label == label)


def measure(ear: Ear | Peer, exam: Exam) -> dict[str, Any]:
    """Figures counts_exact and counts_invent; by_label; table {true: {said: n}}, also by label; wrong [{label, true, said, text}]."""
    table: dict[str, dict[int, Counter[int]]] = {label: {n: Counter() for n in range(1, MOST + 1)} for label in COUNTED}
    origins: dict[str, str] = {}
    exact: dict[str, list[Judged]] = {label: [] for label in COUNTED}
    invented, wrong = [], []
    todo = items(exam)
    for label, times, k in told(todo, "counts", len(todo)):
        scene = exam.counted(label, times, k)
        text = final_text(ear.listen(scene.samples))
        said = said_count(text, label)
        table[label][times][said] += 1
        origins[label] = scene.origin
        exact[label].append(Judged(said == times, scene.recordings))
        invented.append(Judged(any(sound.label != label for sound in read(text)), scene.recordings))
        if said != times:
            wrong.append({"label": label, "true": times, "said": said, "text": text, "which": k})
    what = f"1-4 single events of {exam.what}, synthetic where it has none"
    total = {times: sum((rows[times] for rows in table.values()), Counter[int]()) for times in range(1, MOST + 1)}
    return {
        "figures": {
            "counts_exact": share_of([item for judged in exact.values() for item in judged], "mixed", what),
            "counts_invent": share_of(invented, "mixed", what),
        },
        "by_label": {label: share_of(exact[label], origins[label], what) for label in COUNTED},
        "table": _plain(total),
        "table_by_label": {label: _plain(rows) for label, rows in table.items()},
        "wrong": wrong,
    }


def _plain(table: dict[int, Counter[int]]) -> dict[str, dict[str, int]]:
    return {str(true): {str(said): row[said] for said in sorted(row)} for true, row in table.items()}
