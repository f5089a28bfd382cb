"""Two sounds, one after the other or at the same time: what the caption says of them, and when they were heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge.types import SAMPLE_RATE
from export.evaluate.ear import Ear, final_text, sounds
from export.evaluate.exam import Exam
from export.evaluate.figure import Figure, Judged, share_of
from export.evaluate.hits import f1, onset_errors, onset_figures
from export.evaluate.lay import Scene
from export.evaluate.peer import Peer
from export.evaluate.progress import told
from export.train.language import Named, read


@dataclass(frozen=True, slots=True)
class Verdict:
    """A caption against the truth. order: None unless all true sounds were named; together: overlap told rightly, None likewise."""

    missed: tuple[str, ...]
    invented: tuple[str, ...]
    order: bool | None
    together: bool | None

    @property
    def right(self) -> bool:
        return not self.missed and not self.invented and self.order is True

    @property
    def faults(self) -> float:
        """How bad it is: what is missed or invented counts whole, wrong order too, sequence for overlap half."""
        return len(self.missed) + len(self.invented) + (self.order is False) + 0.5 * (self.together is False)


def judge(true: Sequence[str], overlap: bool, text: str) -> Verdict:
    """true: labels in order of onset, each once. Order and overlap go by where each label is named first."""
    first: dict[str, Named] = {}
    for sound in read(text):
        first.setdefault(sound.label, sound)
    missed = tuple(label for label in true if label not in first)
    invented = tuple(label for label in first if label not in true)
    if missed:
        return Verdict(missed, invented, None, None)
    told_order = [label for label in first if label in true]
    return Verdict(missed, invented, told_order == list(true), first[told_order[-1]].together == overlap)


def measure(ear: Ear | Peer, exam: Exam) -> dict[str, Any]:
    """Figures of scenes, captions and sounds; by_kind {group: shares}; f1; onsets_ms (late is positive); scenes [what each was and got]."""
    count = exam.of(exam.scenes)
    rows, pairs, errors = [], [], []
    for index in told(range(count), "scenes", count):
        scene = exam.two_sound(index)
        records = ear.listen(scene.samples)
        heard = sounds(records)
        pairs.append((scene, heard))
        errors += onset_errors(scene, heard)
        rows.append(_row(index, scene, final_text(records), heard))
    what = f"two-sound scenes of {exam.what} and synthetic events"
    figures, details = f1(pairs, what)
    figures |= onset_figures(errors, "mixed", what)
    groups: dict[str, dict[str, Figure]] = {}
    if ear.captions:
        figures |= caption_figures(rows, what)
        figures["scenes_right_real"] = _right([row for row in rows if row["origin"] == "real"], "real", f"two-sound scenes of {exam.what}")
        figures["scenes_right_mixed"] = _right([row for row in rows if row["origin"] != "real"], "mixed", what)
        for key in ("real", "mixed", "sequence", "overlap"):
            chosen = [row for row in rows if key in (row["origin"], row["kind"])]
            groups[key] = caption_figures(chosen, f"{what}: {key}")
    return {
        "figures": figures,
        "by_kind": groups,
        "f1": details,
        "onsets_ms": [round(error) for error in errors],
        "by_label": _by_label(rows),
        "scenes": rows,
    }


def _row(index: int, scene: Scene, text: str, heard: Sequence[dict[str, Any]]) -> dict[str, Any]:
    verdict = judge([event.label for event in scene.events], scene.kind == "overlap", text)
    events = [
        {
            "label": e.label,
            "start_s": round(e.start / SAMPLE_RATE, 3),
            "stop_s": round(e.stop / SAMPLE_RATE, 3),
            "dbfs": round(e.dbfs, 1),
            "from": e.source,
        }
        for e in scene.events
    ]
    return {
        "index": index,
        "kind": scene.kind,
        "origin": scene.origin,
        "events": events,
        "said": text,
        "heard": [{"label": s["label"], "start_s": s["start"], "stop_s": s["end"]} for s in heard],
        "missed": list(verdict.missed),
        "invented": list(verdict.invented),
        "order": verdict.order,
        "together": verdict.together,
        "right": verdict.right,
        "faults": verdict.faults,
    }


def caption_figures(rows: Sequence[dict[str, Any]], what: str) -> dict[str, Figure]:
    """Of judged scenes: right, sounds missed, captions that invent, and sequence told from overlap where both were named."""
    both = [row for row in rows if row["together"] is not None]
    origins = {row["origin"] for row in rows}
    origin = origins.pop() if len(origins) == 1 else "mixed"
    missed = [Judged(len(row["missed"]), recordings(row), len(row["events"])) for row in rows]
    return {
        "scenes_right": _right(rows, origin, what),
        "sounds_missed": share_of(missed, origin, what),
        "captions_invent": share_of([Judged(bool(row["invented"]), recordings(row)) for row in rows], origin, what),
        "sequence_or_overlap": share_of([Judged(row["together"], recordings(row)) for row in both], origin, what),
        "order_where_named": share_of([Judged(row["order"], recordings(row)) for row in both], origin, what),
    }


def recordings(row: dict[str, Any]) -> frozenset[str]:
    """What a scene of a result was cut from."""
    return frozenset(event["from"] for event in row["events"]) - {"synthetic"}


def _right(rows: Sequence[dict[str, Any]], origin: str, what: str) -> Figure:
    return share_of([Judged(row["right"], recordings(row)) for row in rows], origin, what)


def _by_label(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """For each label: scenes with it, how often it was missed, and how often it was invented in others."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        for key, labels in (("there", [e["label"] for e in row["events"]]), ("missed", row["missed"]), ("invented", row["invented"])):
            for label in labels:
                found.setdefault(label, {"there": 0, "missed": 0, "invented": 0})[key] += 1
    return dict(sorted(found.items()))
