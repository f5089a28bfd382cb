"""The whole recipe of the starter bundle, stage by stage; a stage whose file is there is skipped, an interrupted one goes on.

1. encoder: render scenes of folds 1-3 without one speaker and fit on them; fold 4 and that speaker are the validation (encoder-123.pt)
2. thresholds: choose them for that encoder, on other scenes of the validation than are reported (thresholds.json)
3. language: fit projector and decoder on simulated scores (speaker-simulated-*.pt), then on that encoder's (speaker-*.pt), by these
   thresholds, after which their files are named
4. measured edition: pack what never heard fold 4, int8 and float, and evaluate both (without-fold-4, without-fold-4-float, evaluation)
5. finish: let the encoder go on with folds 1-4 and every speaker (encoder-1234.pt)
6. ship: pack again with the same thresholds; the figures of the measured edition go into the receipt, and say so

All files lie under RUNS; loss and accuracy of every stage are drawn in RUNS/progress.png.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.train import card, carried, recordings, thresholds
from export.train.assemble import assemble
from export.train.evidence import Evidence
from export.train.fit import FitOptions, fit, lean, rarity, temper
from export.train.fit_language import LanguageOptions, Pool, Speaker, exactness, fit_language, make_tokenizer
from export.train.gpu import FINISH_RATE, RATE
from export.train.measure import clip_accuracy, word_accuracy
from export.train.model import Encoder, go_on_from, keep
from export.train.progress import draw_progress
from export.train.recordings import VALIDATION_FOLD, VALIDATION_SPEAKER
from export.train.shards import SHARD_SCENES, gather, gathered, load_shard, make_shards, shard_path
from export.train.teacher import columns
from export.train.timelines import Example, Heard, examples, heard_scenes, simulated
from export.train.tracking import SOUND_TABLE, sound_table
from export.train.wire import wire_words

VERSION = "2.7.1+made"
"""Of what this recipe makes from nothing; 2.7.1 itself has come to be in many steps (docs/training.md)."""


@dataclass(frozen=True, slots=True)
class StarterOptions:
    """Where things lie and how long each stage runs; the defaults take some hours on two cores."""

    data: Path = Path("../shared/data")
    runs: Path = Path("runs/starter")
    out: Path = Path("edge/bundles/starter")
    encoder_steps: int = 2100
    finish_steps: int = 480
    language_steps: int = 1700
    settle_steps: int = 520
    shards: int = 96
    turns: int = 15_000
    seed: int = 1
    threads: int = 0
    device: str = "cpu"
    """Where the encoder is fitted: "cpu" batch by batch, "cuda" by the clock for minutes and finish_minutes."""
    minutes: int = 6
    finish_minutes: int = 3
    unheard: Path | None = None
    """Recordings that a shipped encoder has not learnt, on which its thresholds are chosen."""


def tell(line: str) -> None:
    """One line of progress."""
    print(f"auricle-export: {line}", flush=True)


def train(options: StarterOptions) -> None:
    """Runs every stage that has not run yet and writes the bundle. Deterministic for options and number of threads."""
    torch.set_num_threads(options.threads or os.cpu_count() or 1)
    options.runs.mkdir(parents=True, exist_ok=True)
    first = encoder_of(options, "123", options.encoder_steps, options.shards)
    weight = torch.load(options.runs / "encoder-123.pt", weights_only=False)["rarity"]
    names = columns(options.data / "yamnet")
    heard = lean(tempered(first, weight), names)
    sounds = sounds_of(options, heard)
    speaker = speaker_of(options, heard, sounds)
    measured = {"int8": options.runs / "without-fold-4", "float": options.runs / "without-fold-4-float"}
    for precision, out in measured.items():
        if not (out / "manifest.json").exists() or json.loads((out / "manifest.json").read_text(encoding="utf-8"))["sounds"] != sounds:
            tell(f"packing the edition without fold {VALIDATION_FOLD}, {precision}")
            about = {"version": f"{VERSION}-without-fold-4"}
            assemble(heard, speaker, options.runs / "tokenizer.json", out, about, precision, sounds)
    figures = figures_of(options, measured["int8"], measured["float"])
    final = encoder_of(options, "1234", options.finish_steps, max(1, options.shards * 3 // 10), begin=first)
    about = {"version": VERSION, "figures": figures, "card": card.text(figures, card.MADE)}
    assemble(lean(tempered(final, weight), names), speaker, options.runs / "tokenizer.json", options.out, about, sounds=sounds)
    tell(f"the bundle lies in {options.out}")


def tempered(encoder: Encoder, weight: torch.Tensor) -> Encoder:
    """A copy with part of the weight of rare labels taken back."""
    return temper(copy.deepcopy(encoder), weight)


def encoder_of(
    options: StarterOptions,
    folds: str,
    steps: int,
    shards: int,
    begin: Encoder | None = None,
    name: str = "",
    scenes: Path | None = None,
) -> Encoder:
    """The encoder fitted on these folds, from its file if it is there. Without fold 4 it is validated on that, with it on nothing.

    begin: what it goes on from, without dropout. name, scenes: of its files, and the folder of its scenes, where not those of the folds.
    """
    name, scenes = name or folds, scenes or options.runs / f"scenes-{folds}"
    kept, model = options.runs / f"encoder-{name}.pt", Encoder()
    if begin is not None:
        go_on_from(model, begin.state_dict())
    if kept.exists():  # behind go_on_from: what is read has no more dropout than what was fitted just now
        model.load_state_dict(torch.load(kept, weights_only=False)["mean_model"])
        return model.eval()
    if options.device == "cpu":
        tell(f"fitting the encoder on folds {', '.join(folds)}: {steps} batches, {shards} shards of {SHARD_SCENES} scenes")
        validate = None if str(VALIDATION_FOLD) in folds else validation(options.data)
        renderer = render_beside(scenes, options, folds, shards)
        fitting = FitOptions(steps=steps, shards=shards, rate=3e-3 if begin is None else 8e-4, seed=options.seed)
        try:
            history = fit(model, scenes, options.runs / f"fit-{name}.pt", fitting, validate, tell, lambda: renderer.poll() is None)
        finally:
            renderer.terminate()
        weight = rarity(np.concatenate([load_shard(shard_path(scenes, i)).truth for i in range(min(shards, 12))]))
    else:
        minutes, rate = (options.minutes, RATE) if begin is None else (options.finish_minutes, FINISH_RATE)
        history, weight = on_gpu(model, options, folds, minutes, rate)
    keep(kept, model, history, folds, weight)
    write_history(options, f"encoder-{name}", history)
    return model


def on_gpu(model: Encoder, options: StarterOptions, folds: str, minutes: float, rate: float) -> tuple[list[dict[str, float]], torch.Tensor]:
    """Fits on options.device for that many minutes; history and weights of rare labels. Raises: ValueError where there is none."""
    from export.train.float_teacher import FloatTeacher, weights_of
    from export.train.gpu import GpuOptions, fit_edition

    tell(f"fitting the encoder on folds {', '.join(folds)} on {options.device} for {minutes:g} minutes")
    numbers = [int(f) for f in folds]
    sources = gather(options.data, numbers, options.runs / "made", recordings.without_of(numbers))
    teacher = FloatTeacher(weights_of(options.data / "yamnet" / "yamnet.tflite"))
    chosen = GpuOptions(minutes=minutes, rate=rate, seed=options.seed + len(folds), device=options.device)
    return fit_edition(model, sources, teacher, chosen, tell)


def validation(data: Path) -> Any:
    """Accuracy on the validation fold and on the digits of the validation speaker, for an encoder."""
    clips = clip_accuracy(recordings.esc10(data, [VALIDATION_FOLD]))
    words = word_accuracy(recordings.speech(data, only=(VALIDATION_SPEAKER,))[::4])
    return lambda model: {**clips(model), **words(model)}


def write_history(options: StarterOptions, stage: str, history: Sequence[dict[str, float]]) -> None:
    """Keeps a stage's history and draws all of them anew."""
    (options.runs / f"history-{stage}.json").write_text(json.dumps(list(history), indent=1))
    draw_progress(options.runs)


def render_beside(folder: Path, options: StarterOptions, folds: str, shards: int) -> subprocess.Popen[bytes]:
    """Renders shards in a process of its own while this one fits."""
    command = [
        sys.executable,
        "-m",
        "export.train.starter",
        str(folder),
        str(options.data),
        folds,
        str(options.seed + len(folds)),
        str(shards),
    ]
    return subprocess.Popen(command)


def render(folder: Path, data: Path, folds: str, seed: int, indices: Sequence[int]) -> None:
    """Shards of these folds."""
    numbers = [int(f) for f in folds]
    make_shards(folder, data, numbers, recordings.without_of(numbers), seed, indices)


def carry(options: StarterOptions) -> None:
    """Writes what scenes are drawn from, and the teacher, into a few files below options.runs, for a machine that has none of it."""
    from export.train.float_teacher import weights_of

    made = options.runs / "made"
    known, spoken = gathered(options.data, made, options.seed)
    carried.save(made, known, spoken)
    np.savez_compressed(carried.teacher_file(made), **weights_of(options.data / "yamnet" / "yamnet.tflite"))
    sizes = ", ".join(f"{path} ({path.stat().st_size / 1e6:.0f} MB)" for path in (*carried.files(made), carried.teacher_file(made)))
    tell(f"{len(known)} recordings and {len(spoken)} utterances lie in {sizes}; training reads them from there")


def simulated_turns(seed: int, count: int, speech: float = 0.25, sounds: Mapping[str, Any] = SOUND_TABLE) -> Iterator[Example]:
    """Turns of simulated scores. speech: share of the sounds that are speech. sounds: thresholds, as `tracking.sound_table` writes them."""
    rng, evidence = np.random.default_rng(seed), Evidence(sounds)
    for start in range(0, count, 300):
        yield from examples(rng, simulated(rng, 120, 256, speech), evidence, min(300, count - start))


def turns(heard: Heard, seed: int, count: int, sounds: Mapping[str, Any]) -> Iterator[Example]:
    """A third as the encoder hears scenes, a third simulated, a third simulated and mostly speech. sounds: as in `simulated_turns`."""
    yield from examples(np.random.default_rng(seed), heard, Evidence(sounds), count // 3)
    yield from simulated_turns(seed + 1, count // 3, sounds=sounds)
    yield from simulated_turns(seed + 6, count // 3, 0.85, sounds)


def sounds_of(options: StarterOptions, encoder: Encoder) -> dict[str, Any]:
    """The manifest's `sounds` table for this encoder, which has learnt neither the validation fold nor the speaker: chosen, if not yet."""
    kept = options.runs / "thresholds.json"
    if not kept.exists():
        exam = thresholds.Exam(options.data, VALIDATION_FOLD, VALIDATION_SPEAKER, seed=thresholds.SEED)
        chosen = thresholds.chosen_for(encoder, options.runs / "made", SOUND_TABLE, tell, exam)
        kept.write_text(json.dumps(chosen, indent=1), encoding="utf-8")
    held = json.loads(kept.read_text(encoding="utf-8"))
    return sound_table({label: (float(on), int(rows)) for label, (on, rows) in held.items()})


def mark_of(sounds: Mapping[str, Any]) -> str:
    """Of a `sounds` table, for the names of files that rest on it."""
    return hashlib.sha256(json.dumps(sounds, sort_keys=True).encode()).hexdigest()[:8]


def speaker_of(options: StarterOptions, encoder: Encoder, sounds: Mapping[str, Any]) -> Speaker:
    """Projector and decoder: long on simulated scores, then on those of the encoder. Renders the scenes that it hears, if missing."""
    from tokenizers import Tokenizer

    mark = mark_of(sounds)  # what is learnt rests on the thresholds: other ones, another language model
    names = ("tokenizer.json", f"speaker-simulated-{mark}.pt", f"speaker-{mark}.pt", f"fit-simulated-{mark}.pt", f"fit-language-{mark}.pt")
    tokenizer, begun, kept, fit_begun, fit_kept = (options.runs / name for name in names)
    make_tokenizer(tokenizer, options.seed)
    scenes, numbers = options.runs / "scenes-123", range(min(options.shards, 24))
    if not kept.exists():
        # An encoder that a GPU has fitted leaves none. First, so that what is missing for them is told before the long fitting.
        render(scenes, options.data, "123", options.seed + len("123"), numbers)
    if not begun.exists():
        tell(f"fitting the language model on simulated scores: {options.language_steps} batches")
        pool = Pool(simulated_turns(options.seed, options.turns, sounds=sounds))
        shape = LanguageOptions(steps=options.language_steps, seed=options.seed)
        speaker, history = fit_language(pool, tokenizer, fit_begun, shape, tell)
        torch.save(speaker.state_dict(), begun)
        write_history(options, "language-simulated", history)
    if not kept.exists():
        *seen, kept_apart = numbers
        heard = heard_scenes(encoder, scenes, seen or [kept_apart])
        tell(f"fitting the language model on the encoder's scores: {options.settle_steps} batches")
        pool = Pool(turns(heard, options.seed + 2, options.turns // 2, sounds))
        shape = LanguageOptions(steps=options.settle_steps, rate=1e-3, seed=options.seed)
        speaker = Speaker.load(begun, tokenizer)
        said = [turn for turn in simulated_turns(options.seed + 3, 900, 0.9, sounds) if any(fact.words for fact in turn.facts)]
        wire_words(speaker, Tokenizer.from_file(str(tokenizer)), said)
        speaker, history = fit_language(pool, tokenizer, fit_kept, shape, tell, speaker.state_dict())
        torch.save(speaker.state_dict(), kept)
        write_history(options, "language", history)
        unseen = heard_scenes(encoder, scenes, [kept_apart])
        found = exactness(speaker, tokenizer, list(turns(unseen, options.seed + 5, 60, sounds)), options.seed)
        tell("texts wholly right: " + ", ".join(f"{kind} {share:.0%}" for kind, share in found.items()))
        (options.runs / "exactness.json").write_text(json.dumps(found, indent=1))
    return Speaker.load(kept, tokenizer)


def figures_of(options: StarterOptions, measured: Path, against: Path) -> list[dict[str, Any]]:
    """Receipt of the edition that never heard the validation fold, by `auricle-export evaluate`."""
    from export.evaluate.run import EvaluateOptions, evaluate, receipt

    out = options.runs / "evaluation"
    tell(f"evaluating the edition without fold {VALIDATION_FOLD}; its page will be {out}/evaluation.html")
    found = evaluate(EvaluateOptions(measured, options.data, out, VALIDATION_FOLD, VALIDATION_SPEAKER, against))
    return [{**row, "data": f"the edition without fold {VALIDATION_FOLD}: {row['data']}"} for row in receipt(found)]


if __name__ == "__main__":
    given = sys.argv[1:]
    render(Path(given[0]), Path(given[1]), given[2], int(given[3]), range(int(given[4])))
