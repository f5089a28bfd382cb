"""Questions of every skill about the scenes, with their answers from the truth; as many yes as no."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.errors import EdgeError
from export.evaluate import counts
from export.evaluate.ear import Ear
from export.evaluate.exam import Exam
from export.evaluate.figure import Judged, share_of
from export.evaluate.lay import Scene
from export.evaluate.progress import told
from export.train.questions import SKILLS, Asked, ask

EACH = 40
YES_NO = ("presence", "order")
TRIES = 12
"""Scenes that are tried for one question; not every scene decides one of every skill."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question about a scene. scene: its key, by which questions about the same scene stand together."""

    scene: tuple[Any, ...]
    asked: Asked


def draw(exam: Exam) -> list[Item]:
    """Every question, sorted by scene. Yes and no of a skill alternate, so that neither is the more frequent."""
    made: dict[tuple[Any, ...], Scene] = {}
    pools = _pools(exam)
    found = []
    for number, skill in enumerate(SKILLS):
        pool = pools["count" if skill == "count" else "digit" if skill == "word" and "digit" in pools else "scene"]
        if skill in ("presence", "unknown", "caption"):
            pool = [key for keys in zip(*pools.values(), strict=False) for key in keys]
        for k in range(exam.of(EACH)):
            wanted = (("Yes.", "No.")[k % 2],) if skill in YES_NO else ()
            item = _one(exam, made, pool, (5, number, k), skill, wanted)
            found += [item] if item is not None else []
    return sorted(found, key=lambda item: [str(part) for part in item.scene])


def _pools(exam: Exam) -> dict[str, list[tuple[Any, ...]]]:
    pools: dict[str, list[tuple[Any, ...]]] = {
        "scene": [("scene", index) for index in range(exam.of(exam.scenes))],
        "count": [("count", *item) for item in counts.items(exam)],
    }
    if exam.speaker:
        pools["digit"] = [("digit", index) for index in range(len(exam.digits))]
    return pools


def render(exam: Exam, key: tuple[Any, ...]) -> Scene:
    """The scene of a key."""
    kind, rest = key[0], key[1:]
    make: Callable[..., Scene] = {"scene": exam.two_sound, "count": exam.counted, "digit": exam.digit}[kind]
    return make(*rest)


def _one(exam: Exam, made: dict[Any, Scene], pool: Sequence[Any], key: tuple[int, ...], skill: str, wanted: Sequence[str]) -> Item | None:
    """A question of the skill about a scene of the pool, with a wanted answer; None where TRIES scenes decide none."""
    rng = exam.rng(*key)
    for turn in range(TRIES):
        # The first scene by the number of the question, so that the questions spread over the pool.
        scene_key = pool[(key[-1] if turn == 0 else int(rng.integers(len(pool)))) % len(pool)]
        if scene_key not in made:
            made[scene_key] = render(exam, scene_key)
        scene = made[scene_key]
        for _ in range(8):
            asked = ask(np.random.default_rng(int(rng.integers(1 << 31))), scene.facts(), scene.seconds, skill)
            if asked is not None and (not wanted or asked.answer in wanted):
                return Item(scene_key, asked)
    return None


def plain(answer: str) -> str:
    """Without case, stops and spaces at the ends."""
    return answer.strip().strip(".!").lower().strip()


def right(asked: Asked, answer: str) -> bool:
    """Exactly the answer, but for case and full stop; of a second, one more or less is right too."""
    if asked.skill == "second":
        true, said = (re.search(r"at (\d+) ?s", plain(text)) for text in (asked.answer, answer))
        return true is not None and said is not None and abs(int(true[1]) - int(said[1])) <= 1
    return plain(asked.answer) == plain(answer)


def measure(ear: Ear, exam: Exam) -> dict[str, Any]:
    """Figures yes_no and questions; by_skill {skill: figure}; answers_yes {skill: share of yes said}; wrong [{question, answer, said}]."""
    items = draw(exam)
    hits: dict[str, list[Judged]] = {skill: [] for skill in SKILLS}
    yes: dict[str, list[bool]] = {skill: [] for skill in YES_NO}
    wrong: list[dict[str, Any]] = []
    clip, held, source = None, None, frozenset[str]()
    for item in told(items, "questions", len(items)):
        if item.scene != held:
            scene = render(exam, item.scene)
            clip, held, source = ear.hear(scene.samples), item.scene, scene.recordings
        assert clip is not None
        try:
            said = str(clip.ask(item.asked.question)["text"])
        except EdgeError:  # a model that says nothing is wrong, not a reason to stop
            said = ""
        good = right(item.asked, said)
        hits[item.asked.skill].append(Judged(good, source))
        if item.asked.skill in YES_NO:
            yes[item.asked.skill].append(plain(said) == "yes")
        if not good:
            about = {"skill": item.asked.skill, "scene": " ".join(map(str, item.scene))}
            wrong.append({**about, "question": item.asked.question, "answer": item.asked.answer, "said": said})
    what = f"questions about scenes of {exam.what}, synthetic events and spoken digits"
    decided = [good for skill in YES_NO for good in hits[skill]]
    return {
        "figures": {
            "yes_no": share_of(decided, "mixed", what),
            "questions": share_of([good for found in hits.values() for good in found], "mixed", what),
        },
        "by_skill": {skill: share_of(found, "mixed", what) for skill, found in hits.items()},
        "answers_yes": {skill: round(sum(found) / len(found), 4) for skill, found in yes.items() if found},
        "wrong": wrong,
    }
