"""`auricle-export`: the toolchain's command. Today it trains the starter; recipes for published models come as further verbs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

EXAMPLES = """\
examples:
  auricle-export train starter --data ../shared/data
  auricle-export train starter --data ../shared/data --out my-bundle --encoder-steps 6000 --shards 200
  auricle-export scenes --data ../shared/data --out scenes   (a few training scenes as WAV and pictures)
"""


def parser() -> argparse.ArgumentParser:
    """The command line. Importing it costs no torch."""
    top = argparse.ArgumentParser(
        prog="auricle-export", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = top.add_subparsers(dest="verb", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    train = verbs.add_parser("train", help="train a bundle of our own", epilog=EXAMPLES, formatter_class=raw)
    train.add_argument("recipe", choices=["starter"])
    train.add_argument("--data", type=Path, default=Path("../shared/data"), help="recordings, laid out as docs/training.md says")
    train.add_argument("--runs", type=Path, default=Path("runs/starter"), help="scenes and checkpoints; a later call goes on from them")
    train.add_argument("--out", type=Path, default=Path("edge/bundles/starter"), help="where the bundle is written")
    train.add_argument("--encoder-steps", type=int, default=2000, help="batches for folds 1-3")
    train.add_argument("--finish-steps", type=int, default=700, help="further batches with fold 4 as well")
    train.add_argument("--shards", type=int, default=72, help="shards of 250 scenes for folds 1-3; two thirds as many with fold 4")
    train.add_argument("--language-steps", type=int, default=5000, help="batches for projector and decoder")
    train.add_argument("--seed", type=int, default=1)
    train.add_argument("--threads", type=int, default=0, help="threads for torch, 0 for all cores; results repeat only for the same number")
    scenes = verbs.add_parser("scenes", help="write a few training scenes to listen to and to look at")
    scenes.add_argument("--data", type=Path, default=Path("../shared/data"))
    scenes.add_argument("--out", type=Path, required=True)
    scenes.add_argument("--count", type=int, default=6)
    scenes.add_argument("--seed", type=int, default=1)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb. Returns 0 when done, 1 when the world failed, 2 for wrong usage, 130 when interrupted."""
    args = parser().parse_args(arguments)
    try:
        if not (args.data / "esc10").is_dir():
            raise FileNotFoundError(f"{args.data}: there is no esc10 folder in it; give --data as docs/training.md describes it")
        if args.verb == "scenes":
            from export.train.show import show_scenes

            show_scenes(args.data, args.out, args.count, args.seed)
        else:
            from export.train.starter import StarterOptions, train

            steps = (args.encoder_steps, args.finish_steps, args.language_steps)
            train(StarterOptions(args.data, args.runs, args.out, *steps, args.shards, args.seed, args.threads))
    except KeyboardInterrupt:
        print("auricle-export: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    except ImportError as error:
        print(f"auricle-export: {error.name} is not installed: use `make train`, or pip install 'auricle[export,tflite]'", file=sys.stderr)
        return 1
    except (OSError, RuntimeError) as error:
        print(f"auricle-export: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
