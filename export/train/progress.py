"""One picture of how a training went: loss and accuracy of every stage, from the histories that the stages leave."""

from __future__ import annotations

import json
from pathlib import Path


def draw_progress(runs: Path) -> None:
    """Writes progress.png to `runs` from history-*.json there; a row for each stage, losses left, accuracies right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    histories = {path.stem.removeprefix("history-"): json.loads(path.read_text()) for path in sorted(runs.glob("history-*.json"))}
    histories = {stage: history for stage, history in histories.items() if history}
    if not histories:
        return
    figure, axes = pyplot.subplots(len(histories), 2, figsize=(11, 2.8 * len(histories)), layout="constrained", squeeze=False)
    for (stage, history), (losses, shares) in zip(histories.items(), axes, strict=True):
        steps = [entry["step"] for entry in history]
        for name in (name for name in history[-1] if name not in ("step", "seconds", "scenes")):
            axis = losses if "loss" in name else shares
            axis.plot(steps, [entry.get(name, float("nan")) for entry in history], label=name, marker=".")
        losses.set_title(f"{stage}: loss")
        losses.set_yscale("log")
        losses.legend(fontsize=7)
        shares.set_title(f"{stage}: share right on the validation fold")
        if shares.lines:
            shares.set_ylim(0, 1)
            shares.grid(alpha=0.3)
            shares.legend(fontsize=7)
        else:
            shares.axis("off")
            shares.set_title(f"{stage}: nothing to validate on")
    figure.savefig(runs / "progress.png", dpi=90)
    pyplot.close(figure)
