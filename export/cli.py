"""`auricle-export`: the toolchain's command. It builds bundles of published models, trains the starter and examines bundles."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edge.errors import EdgeError
from export.recipes.recipe import ENCODERS, LLMS, TARGETS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXAMPLES = """\
examples:
  auricle-export list
  auricle-export build openai/whisper-tiny.en --encoder int8 --out whisper-tiny
  auricle-export build ../shared/data/yamnet --out yamnet
  auricle-export verify whisper-tiny      auricle-export compare whisper-tiny whisper-tiny-fp32
  auricle-export train starter --data ../shared/data
  auricle-export train starter --data ../shared/data --out my-bundle --encoder-steps 6000 --shards 200
  auricle-export scenes --data ../shared/data --out scenes   (a few training scenes as WAV and pictures)
  auricle-export evaluate runs/starter/without-fold-4 --data ../shared/data --against yamnet
"""

SCORE = """\
examples:
  auricle-export score mmau starter --table mmau-test-mini.json --audio . --out predictions.json
  auricle-export score compa starter --table CompA_order.csv --audio CompA_order_files --out scores.csv
  auricle-export score esc50 yamnet --table ESC-50/meta/esc50.csv --audio ESC-50/audio --out predictions.csv
"""


TRAIN_OPTIONS = (
    ("--data", Path, "recordings, laid out as docs/training.md says (../shared/data)"),
    ("--runs", Path, "scenes and checkpoints; a later call goes on from them (runs/starter)"),
    ("--out", Path, "where the bundle is written (edge/bundles/starter)"),
    ("--encoder-steps", int, "batches for folds 1-3 (2100)"),
    (
        "--finish-steps",
        int,
        "further batches with fold 4 as well, and of `train encoder`, where 0 only lets labels lean on the teacher (480)",
    ),
    ("--shards", int, "shards of 250 scenes for folds 1-3; three tenths of that with fold 4 (96)"),
    ("--language-steps", int, "batches for projector and decoder on simulated scores (1700)"),
    ("--settle-steps", int, "further batches on the encoder's scores (520)"),
    ("--turns", int, "simulated turns that the language model learns from (15000)"),
    ("--seed", int, "(1)"),
    ("--threads", int, "threads for torch, 0 for all cores (0); results repeat only for the same number"),
    ("--device", str, "where the encoder is fitted: cpu, or cuda by the clock instead of by batches (cpu)"),
    ("--minutes", int, "on a GPU, for folds 1-3 (6)"),
    ("--finish-minutes", int, "on a GPU, further with fold 4 as well (3)"),
    ("--unheard", Path, "for `train encoder` and `train thresholds`: laid out as --data, a fold that the bundle has not learnt"),
)


TRAIN = (
    "starter: from nothing; encoder, language: that of the bundle in --out goes on learning; thresholds: prints the best for the encoder "
    "in --runs, or with --unheard for that of the bundle in --out; sources: writes what scenes are drawn from, and the teacher, into a few "
    "files for another machine"
)

DATA = Path("../shared/data")


def check_data(data: Path) -> None:
    """Raises FileNotFoundError unless the recordings are there."""
    if not (data / "esc10").is_dir():
        raise FileNotFoundError(f"{data}: there is no esc10 folder in it; give --data as docs/training.md describes it")


def training(args: argparse.Namespace) -> dict[str, Any]:
    """Options of `train` from its TOML file and its flags. Raises: ValueError that names the key; OSError."""
    kinds = {flag.removeprefix("--").replace("-", "_"): kind for flag, kind, _ in TRAIN_OPTIONS}
    given: dict[str, Any] = {}
    if args.config is not None:
        try:
            table = tomllib.loads(args.config.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{args.config}: {error}; repair the file") from None
        for key, value in table.items():
            if key not in kinds:
                near = difflib.get_close_matches(key, kinds, 1)
                raise ValueError(f"{args.config}: {key!r} is no option of training; did you mean {(near or sorted(kinds))[0]!r}?")
            if isinstance(value, bool) or not isinstance(value, int if kinds[key] is int else str):
                raise ValueError(f"{args.config}: {key} must be {'a whole number' if kinds[key] is int else 'text'}, not {value!r}")
            given[key] = kinds[key](value)
    given |= {key: getattr(args, key) for key in kinds if getattr(args, key) is not None}
    for key in ("encoder_steps", "finish_steps", "shards", "language_steps", "settle_steps", "turns", "minutes", "finish_minutes"):
        least = 0 if key == "finish_steps" and args.recipe == "encoder" else 1
        if given.get(key, 1) < least:
            raise ValueError(f"{key} must be at least {least}, not {given[key]}")
    return given


def parser() -> argparse.ArgumentParser:
    """The command line. Importing it costs no torch."""
    top = argparse.ArgumentParser(
        prog="auricle-export", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = top.add_subparsers(dest="verb", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    train = verbs.add_parser("train", help="train a bundle of our own", epilog=EXAMPLES, formatter_class=raw)
    train.add_argument("recipe", choices=["starter", "encoder", "language", "thresholds", "sources"], help=TRAIN)
    train.add_argument("--config", type=Path, help="TOML file with any of the options below (encoder_steps = 6000); flags win over it")
    for flag, kind, text in TRAIN_OPTIONS:
        train.add_argument(flag, type=kind, help=text)
    scenes = verbs.add_parser("scenes", help="write a few training scenes to listen to and to look at")
    scenes.add_argument("--data", type=Path, default=DATA)
    scenes.add_argument("--out", type=Path, required=True)
    scenes.add_argument("--count", type=int, default=6)
    scenes.add_argument("--seed", type=int, default=1)
    add_build(verbs.add_parser("build", help="a published model becomes a bundle", epilog=EXAMPLES, formatter_class=raw))
    verbs.add_parser("list", help="the recipes and what each offers")
    verify = verbs.add_parser("verify", help="opens, loads and runs a bundle and tells its receipt")
    verify.add_argument("bundle")
    compare = verbs.add_parser("compare", help="two bundles on the same sounds: size, rows, speed, receipts")
    compare.add_argument("first")
    compare.add_argument("second")
    score = verbs.add_parser(
        "score", help="run a bundle over a public benchmark, as its authors score it", epilog=SCORE, formatter_class=raw
    )
    score.add_argument("benchmark", choices=["mmau", "compa", "esc50"])
    score.add_argument("bundle")
    score.add_argument("--table", type=Path, required=True, help="mmau-test-mini.json, CompA's CSV, or meta/esc50.csv")
    score.add_argument("--audio", type=Path, required=True, help="the folder that the table's files are relative to")
    score.add_argument("--out", type=Path, required=True, help="predictions, which the authors' own script reads")
    score.add_argument("--receipt", action="store_true", help="write the figures into the receipt of the bundle, which must be a folder")
    add_evaluate(verbs.add_parser("evaluate", help="examine a packed bundle through the runtime", epilog=EXAMPLES, formatter_class=raw))
    return top


def add_build(verb: argparse.ArgumentParser) -> None:
    """The flags of `build`."""
    verb.add_argument("source", help="a folder with a model as hubs carry it, or OWNER/NAME on the hub")
    verb.add_argument("--recipe", default="", help="see `auricle-export list` (usual: the one for the model's type)")
    verb.add_argument("--target", default="cpu", choices=TARGETS)
    verb.add_argument("--encoder", default="", choices=["", *ENCODERS], metavar="{" + ",".join(ENCODERS) + "}", help="(usual: see list)")
    verb.add_argument("--llm", default="", choices=["", *LLMS], metavar="{" + ",".join(LLMS) + "}", help="(usual: see list)")
    verb.add_argument(
        "--out", type=Path, required=True, help="the bundle's folder; a bundle that is there is replaced once the new one is whole"
    )
    verb.add_argument("--revision", default="", help="of a source on the hub")
    verb.add_argument("--language", default="en", help="of speech, for models of many languages (en)")
    verb.add_argument("--window", default="", metavar="SECONDS", help="that a tagger hears at a time (usual: 2)")
    verb.add_argument("--labels", default="", metavar="FILE", help="for CLAP: a label on each line, in any words (usual: the starter's)")
    verb.add_argument("--chat-template", default="", metavar="NAME", help="for GGUF pairs: llama.cpp's name of it (usual: the file's own)")
    verb.add_argument("--rknn-python", default="", metavar="PATH", help="for rk3588: a Python that has rknn-toolkit2")
    verb.add_argument("--calibrate", default="", metavar="DIR", help="for int8-static: recordings like those that will be heard")
    verb.add_argument("--licence", default="see the source", help="of the weights, for the manifest")


def show_recipes() -> None:
    """One line for each recipe."""
    from export.build import all_recipes

    for recipe in sorted(all_recipes().values(), key=lambda r: r.name):
        print(f"{recipe.name:<12}{recipe.about}")
        offers = [f"--{w} {'|'.join(o)}" for w, o in (("encoder", recipe.encoders), ("llm", recipe.llms), ("target", recipe.targets)) if o]
        print(f"{'':<12}{'  '.join(offers)}")


def add_evaluate(verb: argparse.ArgumentParser) -> None:
    """The flags of `evaluate`."""
    verb.add_argument("bundle", help="a name that ships with auricle, a folder, a tar, or yamnet for the published peer")
    verb.add_argument("--data", type=Path, default=DATA, help="recordings, laid out as docs/training.md says")
    verb.add_argument("--fold", type=int, default=4, help="fold of ESC-10 that the edition was not trained on (usual: 4)")
    verb.add_argument("--speaker", default="theo", help='speaker of FSDD that it was not trained on, "" for none (usual: theo)')
    verb.add_argument("--out", type=Path, help="where evaluation.json and evaluation.html go (usual: runs/evaluation/BUNDLE)")
    verb.add_argument(
        "--against", default="", metavar="BUNDLE", help="a second bundle, or yamnet, examined the same way and shown beside it"
    )
    verb.add_argument("--scenes", type=at_least(int, 1), default=200, help="two-sound scenes (usual: 200)")
    verb.add_argument("--hours", type=at_least(float, 0.001), default=1.0, help="of noise, and of speech (usual: 1)")
    verb.add_argument("--seed", type=at_least(int, 0), default=7)
    verb.add_argument("--quick", action="store_true", help="a tenth of everything, to see that it runs")


def at_least(kind: Callable[[str], float], least: float) -> Callable[[str], float]:
    """A number of that kind, not below `least`, for argparse."""

    def number(text: str) -> float:
        if not (found := kind(text)) >= least or found == float("inf"):
            raise argparse.ArgumentTypeError(f"must be a number from {least:g} on, not {text}")
        return found

    number.__name__ = kind.__name__
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb. Returns 0 when done, 1 when the world failed, 2 for wrong usage, 130 when interrupted."""
    args = parser().parse_args(arguments)
    try:
        if args.verb == "list":
            show_recipes()
        elif args.verb == "build":
            from export.build import BuildOptions, build

            said = {
                key: getattr(args, key) for key in ("language", "licence", "window", "labels", "chat_template", "rknn_python", "calibrate")
            }
            build(BuildOptions(args.source, args.out, args.recipe, args.target, args.encoder, args.llm, args.revision, said))
        elif args.verb in ("verify", "compare"):
            from export.compare import compare, verify

            verify(args.bundle) if args.verb == "verify" else compare(args.first, args.second)
        elif args.verb == "score":
            from export import score

            run = {"mmau": score.mmau, "compa": score.compa, "esc50": score.esc50}[args.benchmark]
            figures = run(args.bundle, args.table, args.audio, args.out, lambda line: print(line, flush=True))
            for name, figure in figures.items():
                print(f"{name:<16}{figure:8.2f}")
            if args.receipt:
                score.keep(args.bundle, args.benchmark, args.table, args.out, figures)
        elif args.verb == "scenes":
            check_data(args.data)
            from export.train.show import show_scenes

            show_scenes(args.data, args.out, args.count, args.seed)
        elif args.verb == "evaluate":
            check_data(args.data)
            from export.evaluate.run import EvaluateOptions, evaluate

            out = args.out or Path("runs/evaluation") / Path(args.bundle).name
            exam = (args.fold, args.speaker, args.against, args.scenes, args.hours, args.seed, args.quick)
            evaluate(EvaluateOptions(args.bundle, args.data, out, *exam))
        else:
            given = training(args)
            check_data(given.get("data", DATA))
            from export.train.refine import print_thresholds, refine, refine_encoder
            from export.train.starter import StarterOptions, carry, train

            stages = {"starter": train, "encoder": refine_encoder, "language": refine, "thresholds": print_thresholds, "sources": carry}
            stages[args.recipe](StarterOptions(**given))
    except KeyboardInterrupt:
        goes_on = "; the same command goes on from where it was" if args.verb == "train" else ""
        print(f"auricle-export: interrupted{goes_on}", file=sys.stderr)
        return 130
    except ImportError as error:
        print(f"auricle-export: {error.name} is not installed: use `make train`, or pip install 'auricle[export,tflite]'", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"auricle-export: {error}", file=sys.stderr)
        return 2
    except MemoryError:
        print("auricle-export: there is not enough memory; take a smaller model or a larger machine", file=sys.stderr)
        return 1
    except (EdgeError, OSError, RuntimeError) as error:
        print(f"auricle-export: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
