"""Goes on with the encoder or the language model of a bundle that is there: `auricle-export train encoder`, `… train language`.

What ships is all they need beside the recordings: the weights come out of the bundle, and everything else in it stays as it is. This is
how the language model of 2.2.0 came from 2.1.0's, and the encoder of 2.4.0 from 2.3.0's. `… train thresholds` chooses when the scores of
an encoder are a sound.

Each command begins with the bundle as it then is. Its files in RUNS carry a mark of that and of the options that matter, so that the same
command goes on where it was interrupted, and what another has begun or finished is never taken for its own.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from edge.sounds import SoundOptions
from export.train import thresholds
from export.train.assemble import assemble
from export.train.augment import GROUPS, augment
from export.train.evidence import Evidence
from export.train.fit import LEAN_SHARE, lean, settle, temper
from export.train.fit_language import LanguageOptions, Pool, fit_language
from export.train.model import Encoder
from export.train.recordings import VALIDATION_FOLD, VALIDATION_SPEAKER
from export.train.shards import SHARD_SCENES, load_shard, shard_path
from export.train.shipped import heard_by, speaker_from, tokenizer_from, with_speaker
from export.train.shipped_encoder import between, encoder_from, solve_teacher, wake
from export.train.starter import encoder_of, render, simulated_turns, tell, tempered, write_history
from export.train.teacher import columns
from export.train.timelines import examples
from export.train.tracking import SOUND_TABLE, sound_table

if TYPE_CHECKING:
    from export.train.starter import StarterOptions

SHARDS = 7
FOLDS = "1234"
WAKE_SCENES = 200
FITTED_SHARE = 0.6
"""Of the fitted weights in the mean with those that they began as. On recordings that neither had heard 0.3 to 0.7 did better than both."""
SETTLE_SHARDS = 10


def refine_encoder(options: StarterOptions) -> None:
    """Fits `finish_steps` more batches on `shards` new shards of all folds; a mean of old and new weights goes before the same speaker.

    With no batches only the labels' weights change: they lean on the teacher. Do that once, not to a bundle whose labels lean already.
    New weights score otherwise: with options.unheard thresholds are chosen anew, else the bundle's stay. Goes on from its checkpoint. The
    bundle in options.out is replaced at the end; it has no receipt: evaluate it. Raises: FileNotFoundError, ValueError.
    """
    exams = _exams(options)
    begun, tokenizer = _begun(options)
    sounds = _sounds(begun)
    if exams:
        thresholds.voices(options.runs / "made")  # what is missing is told before the long fitting
    scenes = _scenes(options)
    some = range(min(SETTLE_SHARDS, options.shards))
    render(scenes, options.data, FOLDS, options.seed + len(FOLDS), some)
    first, encoder = load_shard(shard_path(scenes, 0)), encoder_from(begun)
    wake(encoder, *(torch.from_numpy(part[:WAKE_SCENES].astype(np.float32)) for part in (first.mels, first.teacher)))
    names = columns(options.data / "yamnet")
    if options.finish_steps:
        how = (options.finish_steps, options.shards) if options.device == "cpu" else (options.finish_minutes,)
        name = f"refined-{_mark(begun, ['encoder'], options.seed, options.device, *how)}"
        fitted = encoder_of(options, FOLDS, options.finish_steps, options.shards, encoder, name, scenes)
        weight = torch.load(options.runs / f"encoder-{name}.pt", weights_only=False)["rarity"]
        mean = between(encoder, tempered(fitted, weight), FITTED_SHARE)
        settle(mean, scenes_heard(scenes, some, options.seed))
        lean(mean, names, LEAN_SHARE * FITTED_SHARE)  # the rest of it leans already
    else:
        solve_teacher(encoder, scenes_taught(scenes, some))
        mean = lean(encoder, names)
    if exams:
        sounds = sound_table(thresholds.chosen_for(mean.eval(), options.runs / "made", sounds, tell, *exams))
    else:
        tell("its thresholds are those of before; --unheard names recordings on which they are chosen anew")
    assemble(mean.eval(), speaker_from(begun), tokenizer, options.out, {"version": f"{_version(begun)}+refined"}, sounds=sounds)
    tell(f"the bundle lies in {options.out} without a receipt: `auricle-export evaluate` measures it")


def refine(options: StarterOptions) -> None:
    """Fits `settle_steps` more batches: half of the turns simulated, a fifth mostly speech, the rest as the bundle's encoder hears scenes.

    Its evidence is by the bundle's own thresholds. Goes on from its checkpoint. The bundle in options.out is replaced at the end; its
    receipt is that of the one before: evaluate it. Raises: FileNotFoundError, ValueError.
    """
    begun, tokenizer = _begun(options)
    scenes, sounds = _scenes(options), _sounds(begun)
    render(scenes, options.data, FOLDS, options.seed + len(FOLDS), range(SHARDS))
    tell(f"the encoder of {begun} hears {SHARDS * SHARD_SCENES} scenes")
    heard = heard_by(begun, scenes, range(SHARDS))
    turns = [
        *simulated_turns(options.seed + 100, options.turns // 2, sounds=sounds),
        *simulated_turns(options.seed + 101, options.turns * 7 // 32, 0.85, sounds),
        *examples(np.random.default_rng(options.seed + 102), heard, Evidence(sounds), options.turns * 9 // 32),
    ]
    shape = LanguageOptions(steps=options.settle_steps, rate=1e-3, seed=options.seed + 10, checkpoint_steps=50)
    weights = speaker_from(begun).state_dict()
    name = f"language-refined-{_mark(begun, ['encoder', 'captioner'], sounds, options.seed, options.settle_steps, options.turns)}"
    speaker, history = fit_language(Pool(turns), tokenizer, options.runs / f"fit-{name}.pt", shape, tell, weights)
    write_history(options, name, history)
    with_speaker(begun, speaker, tokenizer, options.out, {"version": f"{_version(begun)}+refined"})
    measured = _manifest(begun).get("receipt", {}).get("figures")
    told = f"; its receipt still tells the figures of {_version(begun)}" if measured else " without a receipt"
    tell(f"the bundle lies in {options.out}{told}: `auricle-export evaluate` measures it")


def print_thresholds(options: StarterOptions) -> None:
    """Chooses thresholds and prints them as `tracking.py` holds them: for the bundle in options.out where options.unheard is given, else
    for the encoder in options.runs that never heard the validation fold. Raises: FileNotFoundError, ValueError.
    """
    torch.set_num_threads(options.threads or 1)
    sounds: Mapping[str, Any] = SOUND_TABLE
    if exams := _exams(options):
        encoder, sounds = encoder_from(_bundle(options)), _sounds(options.out)
    else:
        kept = options.runs / "encoder-123.pt"
        if not kept.is_file():
            raise FileNotFoundError(f"{kept} is missing: `auricle-export train starter` fits it; --unheard asks for that of a bundle")
        held, encoder = torch.load(kept, weights_only=False), Encoder()
        encoder.load_state_dict(held["mean_model"])
        lean(temper(encoder.eval(), held["rarity"]), columns(options.data / "yamnet"))
        exams = (thresholds.Exam(options.data, VALIDATION_FOLD, VALIDATION_SPEAKER, seed=thresholds.SEED), [])
    chosen = thresholds.chosen_for(encoder, options.runs / "made", sounds, tell, *exams)
    print("CHOSEN: dict[str, tuple[float, int]] = {", *(f'    "{k}": {v},' for k, v in chosen.items()), "}", sep="\n")


def _exams(options: StarterOptions) -> tuple[thresholds.Exam, list[thresholds.Exam]] | tuple[()]:
    if options.unheard is None:
        return ()
    return thresholds.exams_of_shipped(options.data, options.unheard, VALIDATION_SPEAKER, map(int, FOLDS))


def scenes_heard(folder: Path, shards: Iterable[int], seed: int, batch: int = 48) -> Iterator[torch.Tensor]:
    """Log-mels of every second scene of these shards, as they are heard while fitting."""
    rng, blank = torch.Generator().manual_seed(seed), torch.zeros(batch, 128, sum(GROUPS))
    mels = torch.from_numpy(np.concatenate([load_shard(shard_path(folder, shard)).mels[::2] for shard in shards]).astype(np.float32))
    return (augment(part, blank, rng)[0] for part in mels.split(batch) if len(part) == batch)


def scenes_taught(folder: Path, shards: Iterable[int], batch: int = 50) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Log-mels of the scenes of these shards, as they were recorded, and what the teacher says of them."""
    for shard in shards:
        held = load_shard(shard_path(folder, shard))
        parts = (torch.from_numpy(part.astype(np.float32)).split(batch) for part in (held.mels, held.teacher))
        yield from zip(*parts, strict=True)


def _begun(options: StarterOptions) -> tuple[Path, Path]:
    """A copy of the bundle as it now is, for what it goes on from must not change while it does, and its tokenizer. Raises: ValueError."""
    bundle = _bundle(options)
    torch.set_num_threads(options.threads or 1)
    options.runs.mkdir(parents=True, exist_ok=True)
    begun, tokenizer = options.runs / f"begun-with-{_digest([bundle / 'manifest.json'])}", options.runs / "tokenizer-shipped.json"
    if not begun.exists():
        part = begun.with_name(begun.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(bundle, part)
        part.rename(begun)
    tokenizer_from(begun, tokenizer)
    return begun, tokenizer


def _digest(files: Iterable[Path], what: str = "") -> str:
    digest = hashlib.sha256(what.encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _mark(begun: Path, roles: Sequence[str], *what: object) -> str:
    """Of the files of a refinement that begins with these models of a bundle and depends on that."""
    files = {model["role"]: begun / model["file"] for model in _manifest(begun)["models"]}
    return _digest([files[role] for role in roles], json.dumps(what))


def _scenes(options: StarterOptions) -> Path:
    return options.runs / f"scenes-refined-{options.seed}"


def _bundle(options: StarterOptions) -> Path:
    if not (options.out / "manifest.json").is_file():
        raise ValueError(f"{options.out}: there is no bundle to go on from; name one with --out")
    return options.out


def _manifest(bundle: Path) -> dict[str, Any]:
    return dict(json.loads((bundle / "manifest.json").read_text(encoding="utf-8")))


def _sounds(bundle: Path) -> dict[str, Any]:
    """The bundle's own thresholds, with what its manifest leaves out."""
    table = _manifest(bundle).get("sounds", {})
    return {"default": asdict(SoundOptions()) | table.get("default", {}), "labels": table.get("labels", {})}


def _version(bundle: Path) -> str:
    """Of the bundle that the refinements, if any, began with: its receipt stays as long as the encoder does."""
    return str(_manifest(bundle)["version"]).removesuffix("+refined")
