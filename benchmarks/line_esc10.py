"""Is the class of a real recording its strongest sound? ESC-10 clips through `auricle caption --format jsonl`.

    python benchmarks/line_esc10.py [DATA_DIR] [--fold 4 ...] [--bundle B] [--clips N] [--output benchmarks/results/line_esc10.json]

DATA_DIR: the folder with the class folders (esc10/dog_bark …), or the one above it. The strongest sound of a clip is the record with the
largest score among its start and end records; where two labels share that score the earlier record counts. A clip without a sound is
wrong. Interval: Wilson, 95 %. The bar, 85 %, is the issue's; it says nothing about clips of folds that the bundle was trained on.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from common import DATA, ROOT, Record, by_session, command, elapsed, environment, finals, finish, parser, table, unmeasured

sys.path.insert(0, str(ROOT))
from export.evaluate.peer import ALSO
from export.train.language import PHRASES
from export.train.recordings import ESC10_LABELS

BAR = 0.85


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Score interval of a proportion (Wilson 1927)."""
    if not n:
        return 0.0, 1.0
    p, denominator = hits / n, 1 + z * z / n
    middle = (p + z * z / (2 * n)) / denominator
    half = z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5 / denominator
    return max(0.0, middle - half), min(1.0, middle + half)


def share(hits: int, n: int) -> dict[str, Any]:
    low, high = wilson(hits, n)
    return {"value": round(hits / n, 4) if n else None, "hits": hits, "n": n, "wilson_95": [round(low, 4), round(high, 4)]}


def clips(folder: Path, folds: set[int], most: int | None) -> dict[Path, str]:
    """Path -> label, class by class."""
    found: dict[Path, str] = {}
    for name, label in ESC10_LABELS.items():
        paths = [path for path in sorted((folder / name).iterdir()) if path.suffix in (".ogg", ".wav", ".flac")]
        chosen = [path for path in paths if path.name.split("-")[0].isdigit() and int(path.name.split("-")[0]) in folds]
        found |= dict.fromkeys(chosen[:most], label)
    return found


def caption(paths: list[Path], bundle: str) -> tuple[list[list[Record]], str]:
    """The records of each file in order, and what was said on stderr."""
    done = subprocess.run(
        command("caption", "--bundle", bundle, "--format", "jsonl", *paths), capture_output=True, text=True, env=environment(), check=False
    )
    return list(by_session(json.loads(line) for line in done.stdout.splitlines())), done.stderr.strip()


def ours(lines: list[Record]) -> list[Record]:
    """The same records; AudioSet's other names for one of the ten classes are that class (YAMNet says "Dog" where we say "Bark")."""
    same = {other: label for label in ESC10_LABELS.values() for other in ALSO.get(label, ())}
    return [record | {"label": same.get(record["label"], record["label"])} if record["type"] == "sound" else record for record in lines]


def strongest(lines: list[Record], among: frozenset[str] | None = None) -> tuple[str | None, bool]:
    """The label of the strongest sound, and whether another label has the same score."""
    sounds = [r for r in lines if r["type"] == "sound" and (among is None or r["label"] in among)]
    if not sounds:
        return None, False
    best = max(sounds, key=lambda record: record["score"])
    return best["label"], any(r["score"] == best["score"] and r["label"] != best["label"] for r in sounds)


def named(lines: list[Record]) -> set[str]:
    """Labels whose phrase stands in a final caption."""
    text = " ".join(record["text"].lower() for record in finals(lines))
    return {label for label, phrase in PHRASES.items() if phrase in text}


def confusion(pairs: Counter[tuple[str, str]], classes: list[str]) -> str:
    """Rows: the class; columns: numbers of what was heard, explained below the table."""
    heard = classes + sorted({guess for _, guess in pairs} - set(classes))
    rows = [[label[:24], *(pairs[label, guess] or "." for guess in heard)] for label in classes]
    key = "  ".join(f"{number}={guess}" for number, guess in enumerate(heard, 1))
    return table(rows, ["class \\ heard", *map(str, range(1, len(heard) + 1))]) + "\n" + key


def judge(labels: dict[Path, str], heard: dict[Path, list[Record]]) -> tuple[dict[str, Any], str]:
    """All figures, and the text for a person."""
    classes, ten = list(ESC10_LABELS.values()), frozenset(ESC10_LABELS.values())
    pairs: Counter[tuple[str, str]] = Counter()
    right_of_ten, right_captions, other_captions, empty_captions, ties = 0, Counter[str](), 0, 0, 0
    silent: list[str] = []
    wrong: list[str] = []
    for path, label in labels.items():
        lines = ours(heard.get(path, []))
        guess, tie = strongest(lines)
        pairs[label, guess or "(no sound)"] += 1
        right_of_ten += strongest(lines, ten)[0] == label
        ties += tie
        said = named(lines)
        right_captions[label] += label in said
        other_captions += bool(said - {label})
        empty_captions += not any(record["text"] for record in finals(lines))
        if guess is None:
            silent.append(f"{path.parent.name}/{path.name}")
        if guess != label:
            wrong.append(f"{path.parent.name}/{path.name}: {guess}")
    n, hits = len(labels), sum(pairs[label, label] for label in classes)
    of_class = Counter(labels.values())
    present = [label for label in classes if of_class[label]]
    per_class = {label: {"right": pairs[label, label], "captioned": right_captions[label], "n": of_class[label]} for label in present}
    result = {
        "accuracy": share(hits, n),
        "accuracy_among_the_ten": share(right_of_ten, n),
        "captions_naming_the_class": share(sum(right_captions.values()), n),
        "captions_naming_another": other_captions,
        "captions_empty": empty_captions,
        "ties": ties,
        "without_any_sound": silent,
        "wrong": wrong,
        "per_class": per_class,
        "confusion": {f"{label} -> {guess}": count for (label, guess), count in sorted(pairs.items()) if label != guess},
    }
    rows = [[label, f"{row['right']}/{row['n']}", f"{row['captioned']}/{row['n']}"] for label, row in per_class.items()]
    return result, table(rows, ["class", "strongest", "captioned"]) + "\n\n" + confusion(pairs, present)


def main() -> int:
    parse = parser(__doc__)
    parse.add_argument("data", type=Path, nargs="?", default=DATA, metavar="DATA_DIR")
    parse.add_argument("--fold", type=int, nargs="+", default=[4])
    parse.add_argument("--clips", type=int, help="only the first N of each class")
    options = parse.parse_args()
    folder = next((f for f in (options.data / "esc10", options.data) if (f / "dog_bark").is_dir()), None)
    labels = clips(folder, set(options.fold), options.clips) if folder else {}
    if not labels:
        return unmeasured(f"no ESC-10 clips of fold {options.fold} under {options.data}; name the folder that has dog_bark, rooster …")
    began = time.monotonic()
    paths = list(labels)
    sessions, said = caption(paths, options.bundle)
    if len({path.name for path in paths}) != len(paths):
        return unmeasured("two clips share a file name, so their records cannot be told apart")
    by_name = {path.name: path for path in paths}
    heard = {by_name[lines[0]["source"].removeprefix("file:")]: lines for lines in sessions}
    result, text = judge(labels, heard)
    print(text)
    accuracy, ten = result["accuracy"], result["accuracy_among_the_ten"]
    print(f"\nfold {options.fold}, {accuracy['n']} clips in {elapsed(began)}")
    for title, figure in (("strongest sound", accuracy), ("among the ten labels", ten), ("caption", result["captions_naming_the_class"])):
        low, high = figure["wilson_95"]
        print(f"{title:<22} {figure['value']:.1%}  ({figure['hits']}/{figure['n']}, 95 % {low:.1%} to {high:.1%})")
    print(f"captions naming another sound: {result['captions_naming_another']}, empty: {result['captions_empty']}; ties: {result['ties']}")
    print(f"clips without any sound: {len(result['without_any_sound'])} {' '.join(result['without_any_sound'][:8])}")
    if said:
        print(f"stderr: {said[:500]}")
    result = {"folds": options.fold, "unread": [p.name for p in paths if p not in heard], **result}
    bars = {f"the class is the strongest sound in >= {BAR:.0%}": accuracy["value"] >= BAR, "every clip was read": not result["unread"]}
    return finish(options, result, bars)


if __name__ == "__main__":
    raise SystemExit(main())
