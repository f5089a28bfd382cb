"""Public benchmarks as their authors score them: MMAU, CompA, ESC-50. A bundle runs over the published files as they are.

Each writes predictions that the authors' own scripts read, and tells the same figures itself. What was answered before an interruption is
kept: the same command goes on. Sources: Sakshi et al. 2024 (MMAU, evaluation.py), Ghosh et al. 2024 (CompA, evaluation/benchmark_eval.py),
Piczak 2015 (ESC-50, meta/esc50.csv).
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge.bundle import Bundle
from edge.errors import EdgeError
from edge.listener import Listener
from edge.manifest import FILE_NAME
from export.evaluate.ear import ranked
from export.pack import pack
from export.recipes.recipe import BuildError
from export.train.recordings import ESC10_LABELS

KEY = "model_output"
"""What MMAU's evaluation.py reads (its README says model_prediction)."""
SAVE_EVERY = 25
OVERALL = ("mean", "total", "text", "audio", "group")
"""Figures of ESC-50, MMAU and CompA over everything that was asked."""
Tell = Callable[[str], None]


def match(answer: str, prediction: str, choices: Sequence[str]) -> bool:
    """MMAU's rule: every word of the answer is said, and no word that only wrong choices have."""
    said, right = _words(prediction), _words(answer)
    wrong = {word for choice in choices if _words(choice) != right for word in _words(choice) - right}
    return bool(said) and right <= said and not said & wrong


def _words(text: str) -> set[str]:
    return set(re.findall(r"\b\w+\b", text.lower()))


def asked(question: str, choices: Sequence[str]) -> str:
    """A question of multiple choice with its letters, as the starter and chat models are asked."""
    return question + " " + " ".join(f"{letter}: {choice}." for letter, choice in zip("ABCDEFGHIJ", choices, strict=False))


def chosen(said: str, choices: Sequence[str]) -> str:
    """What goes into the file: the choice that a bare letter stands for, else what was said."""
    letter = re.fullmatch(r"\(?([A-J])(?:[.:)].*)?", said.strip(), re.DOTALL)
    if letter and ord(letter[1]) - ord("A") < len(choices):
        return choices[ord(letter[1]) - ord("A")]
    return said


def mmau(bundle: str, questions: Path, audio: Path, out: Path, tell: Tell) -> dict[str, float]:
    """Asks every question of mmau-test-mini.json (or mmau-test.json) and writes the same list with `model_output`.

    audio: the folder that its `audio_id` are relative to. Returns accuracies in % by task, difficulty and in all; {} without answers.
    Raises: EdgeError naming the file that is wrong or absent.
    """
    items = _listed(questions)
    for at, item in enumerate(items):
        if not isinstance(item, dict) or not isinstance(item.get("question"), str) or not isinstance(item.get("choices"), list):
            raise BuildError(f"{questions}: item {at} has no question with choices; take the published file")
    files = _present(audio, [str(item.get("audio_id", "")) for item in items])
    held, done = _answered(bundle, out), 0
    with Listener(bundle) as listener:
        for item, file in zip(items, files, strict=True):
            if item.get("id") in held:
                item[KEY] = held[item["id"]]
                continue
            choices = [str(choice) for choice in item["choices"]]
            try:
                said = listener.hear(file).ask(asked(item["question"], choices))["text"]
                item[KEY] = chosen(said, choices)
            except EdgeError as error:
                if "room" not in str(error) and "no answer" not in str(error):
                    raise
                item[KEY] = ""  # it counts, as wrong
            done += 1
            if done % SAVE_EVERY == 0:
                _save(out, json.dumps(items, indent=2))
                tell(f"{done + len(held)} of {len(items)} questions")
    _save(out, json.dumps(items, indent=2))
    return mmau_figures(items)


def _answered(bundle: str, out: Path) -> dict[Any, str]:
    """What that bundle has answered before, by the questions' ids; from now on `out` is its. Raises: BuildError where it is another's."""
    opened = Bundle.open(bundle)
    described = {key: part for key, part in opened.manifest.raw.items() if key not in ("receipt", "card", "created_by")}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
    mark = json.dumps({"bundle": opened.name, "version": opened.version, "sha256": digest}, indent=1)
    opened.close()
    beside = out.with_name(f"{out.name}.bundle")  # the published format has no place for it
    _may_write(out)
    if out.exists():
        if not beside.exists() or beside.read_text(encoding="utf-8") != mark:
            raise BuildError(f"{out}: it holds the answers of another bundle, or of none that is known; name another --out")
        return {item.get("id"): item[KEY] for item in _listed(out) if KEY in item}
    _save(beside, mark)
    return {}


def mmau_figures(items: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Accuracies in % of items that have an answer and a model_output: "total", and each task and difficulty."""
    hits: dict[str, list[bool]] = defaultdict(list)
    for item in items:
        if KEY in item and item.get("answer"):
            right = match(str(item["answer"]), str(item[KEY]), [str(c) for c in item["choices"]])
            for group in ("total", item.get("task"), item.get("difficulty")):
                if group:
                    hits[str(group)].append(right)
    return {group: 100.0 * sum(found) / len(found) for group, found in hits.items()}


COMPA_COLUMNS = ("pair_file", "reversed_pair_file", "pair_caption", "reversed_pair_caption")


def compa(bundle: str, pairs: Path, audio: Path, out: Path, tell: Tell) -> dict[str, float]:
    """Both captions of each pair over both sounds of it: log-probabilities under the language model.

    pairs: CSV with COMPA_COLUMNS. out: CSV with them and sim_0_0 (caption, sound) … sim_1_1, f, g, h as benchmark_eval.py names them.
    Returns the text (f), audio (g) and group (h) scores in %. Raises: EdgeError.
    """
    rows = _table(pairs, COMPA_COLUMNS)
    files = [_present(audio, [row[column] for row in rows]) for column in COMPA_COLUMNS[:2]]
    _may_write(out)
    texts = [[row[column] for row in rows] for column in COMPA_COLUMNS[2:]]
    hits = [0, 0, 0]
    lines = []
    with Listener(bundle) as listener:
        for at, row in enumerate(rows):
            sims = [[0.0, 0.0], [0.0, 0.0]]
            for sound in (0, 1):
                heard = listener.hear(files[sound][at])
                for text in (0, 1):
                    sims[text][sound] = heard.score(texts[text][at])
            found = compa_scores(sims)
            hits = [hit + int(right) for hit, right in zip(hits, found, strict=True)]
            lines.append({**row, **{f"sim_{t}_{s}": sims[t][s] for t in (0, 1) for s in (0, 1)}, **dict(zip("fgh", found, strict=True))})
            if (at + 1) % SAVE_EVERY == 0:
                tell(f"{at + 1} of {len(rows)} pairs")
    _save_table(out, lines)
    return {name: 100.0 * hit / len(rows) for name, hit in zip(("text", "audio", "group"), hits, strict=True)}


def compa_scores(sims: Sequence[Sequence[float]]) -> tuple[bool, bool, bool]:
    """(f, g, h) of one pair. sims[t][s]: caption t over sound s; equal indices belong together."""
    f = sims[0][0] > sims[1][0] and sims[1][1] > sims[0][1]
    g = sims[0][0] > sims[0][1] and sims[1][1] > sims[1][0]
    return f, g, f and g


def esc50(bundle: str, table: Path, audio: Path, out: Path, tell: Tell) -> dict[str, float]:
    """The strongest sound of every clip against its category, for the categories that the bundle has a label for.

    table: meta/esc50.csv. out: CSV with filename, fold, category, prediction. Returns accuracy in % by fold, their mean, and how many
    categories and clips were asked for. Raises: EdgeError.
    """
    rows = _table(table, ("filename", "fold", "category"))
    opened = Bundle.open(bundle)
    labels = opened.labels
    opened.close()
    known = esc50_labels({row["category"] for row in rows}, labels)
    wanted = [row for row in rows if row["category"] in known.values()]
    if not wanted:
        raise BuildError(f"bundle {bundle}: none of its labels is a category of {table}; build it with --labels, or choose another")
    files = _present(audio, [row["filename"] for row in wanted])
    _may_write(out)
    lines = []
    with Listener(bundle) as listener:
        for at, (row, file) in enumerate(zip(wanted, files, strict=True)):
            heard = next((known[label] for label in ranked(list(listener.listen(str(file)))) if label in known), "")
            lines.append({"filename": row["filename"], "fold": row["fold"], "category": row["category"], "prediction": heard})
            if (at + 1) % SAVE_EVERY == 0:
                tell(f"{at + 1} of {len(wanted)} clips")
    _save_table(out, lines)
    folds: dict[str, list[bool]] = defaultdict(list)
    for line in lines:
        folds[line["fold"]].append(line["prediction"] == line["category"])
    accuracies = {f"fold {fold}": 100.0 * sum(found) / len(found) for fold, found in sorted(folds.items())}
    mean = sum(accuracies.values()) / len(accuracies)
    return {**accuracies, "mean": mean, "categories": len(set(known.values())), "clips": len(lines)}


def keep(bundle: str, benchmark: str, table: Path, out: Path, figures: Mapping[str, float]) -> None:
    """Writes a benchmark's overall figures into the receipt of a bundle that lies in a folder, in the place of what it said of it before.

    table: the questions; out: what was answered. Of how many of ESC-50's categories the bundle knows one stands beside the table's name.
    Raises: BuildError for a tar or a bundle that ships with auricle; BundleError.
    """
    folder = Path(bundle)
    if not (folder / FILE_NAME).is_file():
        raise BuildError(f"bundle {bundle}: --receipt writes into a bundle's folder, and this is none; build or unpack it into one first")
    Bundle.open(folder.absolute()).close()
    manifest = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    receipt = manifest.setdefault("receipt", {})
    others = [figure for figure in receipt.get("figures", []) if not str(figure.get("name", "")).startswith(f"{benchmark}: ")]
    with out.open(encoding="utf-8", newline="") as written:
        answered = sum(KEY in item for item in json.load(written)) if benchmark == "mmau" else sum(1 for _ in csv.DictReader(written))
    data = table.name
    if benchmark == "esc50":
        of = len({row["category"] for row in _table(table, ("category",))})
        data += f", {figures['categories']:.0f} of its {of} categories"
    receipt["figures"] = others + [
        {"name": f"{benchmark}: {name}", "value": value, "unit": "%", "data": data, "origin": "real", "n": answered}
        for name, value in figures.items()
        if name in OVERALL
    ]
    pack(folder, manifest)


def esc50_labels(categories: Iterable[str], labels: Sequence[str]) -> dict[str, str]:
    """Label of the bundle -> category: by name, without case and underscores, and by what ESC-10's classes are called in AudioSet."""
    plain = {category.replace("_", " ").lower(): category for category in categories}
    also = {label: plain[name] for name, label in ESC50_NAMES.items() if name in plain}
    return {label: category for label in labels if (category := plain.get(label.lower()) or also.get(label, ""))}


_OWN = {"baby_cry": "crying baby", "dog_bark": "dog", "fire_crackling": "crackling fire", "person_sneeze": "sneezing"}
ESC50_NAMES = {
    **{_OWN.get(name, name.replace("_", " ")): label for name, label in ESC10_LABELS.items()},
    **{"door wood knock": "Knock", "car horn": "Vehicle horn, car horn, honking"},
}
"""Category of ESC-50, in plain words -> AudioSet name."""


def _listed(path: Path) -> list[Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BuildError(f"{path}: it cannot be read ({error.strerror}); name the published file") from None
    except ValueError as error:
        raise BuildError(f"{path}: it is not JSON ({error}); fetch it again") from None
    if not isinstance(found, list):
        raise BuildError(f"{path}: it holds no list of questions; name the published file")
    return found


def _table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"{path}: it cannot be read ({error}); name the published table") from None
    if not rows or any(rows[0].get(column) is None for column in columns):
        raise BuildError(f"{path}: it has no rows with the columns {', '.join(columns)}; name the published table")
    return rows


def _present(folder: Path, names: Sequence[str]) -> list[Path]:
    """The files, all of which must be there. Raises: BuildError naming the first that is not, and how many."""
    files = [folder / name for name in names]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise BuildError(f"{missing[0]}: it is missing, with {len(missing) - 1} others of {len(files)}; name their folder with --audio")
    return files


def _may_write(path: Path) -> None:
    """Before hours have passed. Raises: BuildError, OSError."""
    if path.is_dir():
        raise BuildError(f"{path}: it is a folder; name a file with --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.touch()
    part.unlink()


def _save(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def _save_table(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    os.replace(part, path)
