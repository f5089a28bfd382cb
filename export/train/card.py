"""The starter's model card: what it was trained on, what was measured, what it is not for. Goes into the manifest and docs/starter.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CARD = """\
# Model card: starter

**What it is.** A streaming audio encoder (causal depthwise-separable network over 64 log-mels, int8 ONNX, 22 AudioSet labels
every 40 ms) and a
language model of 2 million parameters (Llama-shaped, Q8_0 GGUF) that turns its scores into a sentence. Weights are our own, under
Apache-2.0.

**What it heard.**
| data | use | licence |
|---|---|---|
| ESC-10 folds 1-4 (320 real recordings, K. J. Piczak, Freesound) | ten environmental classes | CC0 / CC-BY, listed by clip there |
| Free Spoken Digit Dataset, four of its six speakers | real speech | CC BY-SA 4.0 |
| moonshine spoken characters, one speaker | real speech | MIT |
| Sonic Pi samples | music, a few distractors | CC0 |
| synthetic sounds (`export/train/synth*.py`) | alarms, sirens, bells, horns, knocks, engines, noise …; variants of the ten | our own |
| synthetic speech by espeak-ng and flite | speech | our own use of GPL and BSD-like programs' output |
| YAMNet (Google) | teacher: its scores on our scenes are a second target; none of its weights ship | Apache-2.0 |

Never heard: ESC-10 fold 5, the FSDD speakers lucas and george, the longer speech recordings.

**Figures.** Measured through the runtime on the packed int8 bundle. The edition measured had not heard fold 4; the shipped
edition has gone on training
with it, so its own figure on new recordings is expected near this one, and can only be measured on others.
{figures}

**Known failures.** Alarms, sirens, doorbells, telephones, horns and knocks were learnt from synthetic sound only: expect misses
and mix-ups on real ones.
Steady broadband sounds (rain, surf, wind, a chainsaw far away) are taken for one another. Short single events in strong noise are
missed. Music
of a kind that the samples do not hold may be taken for a siren, a bell or a telephone. It knows 22 sounds: another sound is told as the
nearest of them or not at all. What was said is not transcribed.

**Use.** To try the runtime, and as a first bundle for captions of everyday sounds. Not a life-safety device: do not rely on it to
notice a fire alarm, a
cry or a siren. Not for identifying people; no audio is stored.
"""


def text(figures: Sequence[dict[str, Any]]) -> str:
    """The card with the measured figures in it."""
    rows = [f"| {f['name']} | {f['value']:.3f} {f['unit']} | {f['data']} | {f['n']} |" for f in figures]
    return CARD.format(figures="\n".join(["| figure | value | on | n |", "|---|---|---|---|", *rows]))
