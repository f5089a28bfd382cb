"""Sound records against the truth: onset errors, and the F1 of sed_eval by event and by segment."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from edge.types import SAMPLE_RATE
from export.evaluate.figure import Figure, quantile, value
from export.evaluate.lay import Scene
from export.train.labels import STARTER_LABELS

COLLARS_S = (0.2, 0.5)
Heard = Sequence[dict[str, Any]]
"""Sounds of one scene: records with label, start and end in seconds."""


def sed_eval() -> ModuleType:
    """The module sed_eval. Its dcase_util imports pkg_resources, which setuptools 82 dropped, and calls nothing of it that is used here."""
    absent = "pkg_resources" not in sys.modules and find_spec("pkg_resources") is None
    if absent:
        sys.modules["pkg_resources"] = ModuleType("pkg_resources")
    try:
        import sed_eval.sound_event
    finally:
        if absent:
            del sys.modules["pkg_resources"]
    return sed_eval


def onset_errors(scene: Scene, heard: Heard) -> list[float]:
    """For each true sound whose label was heard: milliseconds from its onset to the nearest onset of that label; positive is late."""
    errors = []
    for event in scene.events:
        starts = [1000 * (sound["start"] - event.start / SAMPLE_RATE) for sound in heard if sound["label"] == event.label]
        if starts:
            errors.append(min(starts, key=abs))
    return errors


def f1(pairs: Sequence[tuple[Scene, Heard]], what: str) -> tuple[dict[str, Figure], dict[str, Any]]:
    """Figures event_f1_0.2, event_f1_0.5 and segment_f1; precision, recall and error rate of each beside, and F1 on onsets alone."""
    module = sed_eval().sound_event
    labels = [label for label in STARTER_LABELS if label != "Noise"]
    metrics = {f"event_f1_{collar}": module.EventBasedMetrics(labels, t_collar=collar, percentage_of_length=0.5) for collar in COLLARS_S}
    metrics |= {f"onset_f1_{collar}": module.EventBasedMetrics(labels, t_collar=collar, evaluate_offset=False) for collar in COLLARS_S}
    metrics["segment_f1"] = module.SegmentBasedMetrics(labels, time_resolution=1.0)
    events = 0
    for scene, heard in pairs:
        true = [_event(scene.name, e.label, e.start / SAMPLE_RATE, e.stop / SAMPLE_RATE) for e in scene.events]
        found = [_event(scene.name, s["label"], s["start"], s["end"]) for s in heard if s["label"] in labels]
        events += len(true)
        for name, metric in metrics.items():
            more = {"evaluated_length_seconds": scene.seconds} if name == "segment_f1" else {}
            metric.evaluate(reference_event_list=true, estimated_event_list=found, **more)
    origin = "mixed" if {scene.origin for scene, _ in pairs} != {"real"} else "real"
    details = {name: _plain(metric.results_overall_metrics()) for name, metric in metrics.items()}
    figures = {
        name: value(found["f_measure"], "F1", events, origin, what) for name, found in details.items() if not name.startswith("onset")
    }
    return figures, details


def onset_figures(errors: Sequence[float], origin: str, what: str) -> dict[str, Figure]:
    """Figures onset_error_ms and onset_error_p90_ms of absolute errors."""
    size = [abs(error) for error in errors]
    return {"onset_error_ms": quantile(size, 0.5, "ms", origin, what), "onset_error_p90_ms": quantile(size, 0.9, "ms", origin, what)}


def _event(file: str, label: str, start_s: float, stop_s: float) -> dict[str, Any]:
    return {"file": file, "event_label": label, "event_onset": start_s, "event_offset": max(stop_s, start_s + 0.01)}


def _plain(found: dict[str, Any]) -> dict[str, float]:
    """Numbers of sed_eval as JSON has them; what is undefined (no event at all) is 0."""
    numbers = {**found["f_measure"], **found["error_rate"]}
    return {name: round(float(number), 4) if number == number else 0.0 for name, number in numbers.items()}
