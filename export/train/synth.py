"""Every kind of sound that the starter is taught and that no recording is needed for, drawn at random from physical descriptions.

`SYNTHESISERS[name](rng)` returns one event: float32[n], mono, 16 kHz, 0.2 to 6.5 s, peak 0.5, all parameters drawn from `rng`.
Names are AudioSet display names; those that begin with "other:" are distractors which the starter must leave unnamed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from export.train import synth_engines, synth_other, synth_scapes, synth_signals, synth_struck, synth_voices
from export.train.synth_parts import PEAK, RATE, noise
from export.train.synth_place import colour, impulse_response, narrow, room, warp

__all__ = ["PEAK", "RATE", "SYNTHESISERS", "colour", "impulse_response", "narrow", "noise", "room", "warp"]

SYNTHESISERS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "Smoke detector, smoke alarm": synth_signals.smoke_alarm,
    "Siren": synth_signals.siren,
    "Doorbell": synth_struck.doorbell,
    "Telephone": synth_struck.telephone,
    "Vehicle horn, car horn, honking": synth_signals.horn,
    "Knock": synth_struck.knock,
    "Beep, bleep": synth_signals.beep,
    "Engine": synth_engines.engine,
    "Music": synth_scapes.music,
    "Wind": synth_scapes.wind,
    "Noise": synth_scapes.plain_noise,
    "Rain": synth_scapes.rain,
    "Waves, surf": synth_scapes.waves,
    "Crackle": synth_scapes.crackle,
    "Tick-tock": synth_struck.tick_tock,
    "Helicopter": synth_engines.helicopter,
    "Chainsaw": synth_engines.chainsaw,
    "Bark": synth_voices.bark,
    "Baby cry, infant cry": synth_voices.baby_cry,
    "Sneeze": synth_voices.sneeze,
    "Crowing, cock-a-doodle-doo": synth_voices.crow,
    "other:click": synth_other.click,
    "other:glass": synth_other.glass,
    "other:footsteps": synth_other.footsteps,
    "other:typing": synth_other.typing,
    "other:whistle": synth_other.whistle,
    "other:bird": synth_other.bird,
    "other:cat": synth_other.cat,
    "other:clap": synth_other.clap,
    "other:water": synth_other.water,
    "other:vacuum": synth_engines.vacuum,
    "other:cough": synth_other.cough,
    "other:laugh-ish": synth_other.laugh,
    "other:rustle": synth_other.rustle,
    "other:thump": synth_other.thump,
    "other:whoosh": synth_other.whoosh,
}
