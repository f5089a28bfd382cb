"""Words and sounds on one line: `[bark] "Sit!" [smoke detector]`, from a transcriber and the sounds that the tracker tells.

A sound that must not be overlooked has a mark: `[smoke detector!]`.

What stands on the line stays in its place: a sound is put behind the words that are committed when it is told, and the words that are not
yet go on behind it. So the beginning that is committed never changes, whichever of the two models speaks next.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from edge.transcriber import Transcriber
from edge.types import SAMPLE_RATE, Caption, Encoding, Samples, Sound, Turn

SPEECH = "Speech"
"""A label that the words stand for."""


@dataclass(slots=True)
class Written:
    """The line of one turn. fixed: what stands for good; words from the `taken`th character of the transcriber's text on are open."""

    turn: int = 0
    caption_id: int = 0
    revision: int = 0
    text: str = ""
    committed: int = 0
    fixed: list[str] = field(default_factory=list)
    taken: int = 0


class TimeLine:
    """One stream's captions where words and sounds are told together. Main thread only.

    unspoken: labels that are told as sounds and are nothing to caption. remind_s: a sound that goes on into another turn is told again
    after this long.
    """

    def __init__(self, transcriber: Transcriber, unspoken: Collection[str] = (), remind_s: float = 60.0) -> None:
        self._transcriber, self._unspoken, self._remind = transcriber, {SPEECH, *unspoken}, int(remind_s * SAMPLE_RATE)
        self._line = Written()
        self._told: dict[int, tuple[int, int]] = {}
        """Of each sound of the last view the turn that told it, and where that stood: one that goes on into the next is not told again."""
        self._words: Caption | None = None
        self._next_id = 1
        self.meter = transcriber.meter

    def listen(self, turn: Turn, samples: Samples) -> None:
        """The samples of a view, before `revise`."""
        self._transcriber.begin(turn)
        self._transcriber.extend(samples)

    def wait(self, turn: Turn, encoding: Encoding) -> None:
        """A view for which there is no time: `listen` has its audio, and the next `revise` tells it."""

    def revise(self, turn: Turn, encoding: Encoding, sounds: Sequence[Sound]) -> Caption | None:
        """The next revision of the turn's line, or None while it is empty or as it was."""
        line = self._line
        if turn.id != line.turn:
            line, self._words = Written(turn.id), None
            self._line = line
        self._words = self._transcriber.revise(turn, encoding, sounds) or self._words
        said, sure = (self._words.text, self._words.committed) if self._words is not None else ("", 0)
        new = [s for s in sounds if s.label not in self._unspoken and self._is_due(s.id, turn)]
        for sound in sorted(new, key=lambda s: (s.start, s.id)):
            if words := said[line.taken : sure].strip():
                line.fixed.append(f'"{words}"')
                line.taken = sure
            line.fixed.append(f"[{called(sound.label)}{'!' if sound.priority else ''}]")
        here = turn.id, turn.stop
        self._told = {s.id: here if s in new else self._told.get(s.id, here) for s in sounds}
        standing = " ".join(line.fixed)
        rest, rest_sure = said[line.taken :], said[line.taken : sure]
        shown, joint = rest.strip(), " " if standing else ""
        text = standing + (f'{joint}"{shown}"' if shown else "")
        lead = len(rest) - len(rest.lstrip())
        open_sure = max(0, len(rest_sure.rstrip()) - lead)
        committed = len(text) if turn.final else len(standing) + (len(joint) + 1 + open_sure if open_sure else 0)
        if (not text and line.revision == 0) or (text == line.text and not turn.final and committed == line.committed):
            return None
        if line.revision == 0:
            line.caption_id, self._next_id = self._next_id, self._next_id + 1
        line.revision, line.text, line.committed = line.revision + 1, text, committed
        caption = Caption(line.caption_id, line.revision, turn.start, turn.stop, text, committed, turn.final)
        if (of := self._words) is None:
            return caption
        return replace(caption, guard=of.guard, language=of.language, words=of.words)

    def _is_due(self, sound: int, turn: Turn) -> bool:
        if sound not in self._told:
            return True
        told_in, told_at = self._told[sound]
        return told_in != turn.id and turn.stop - told_at >= self._remind


def called(label: str) -> str:
    """What a line calls a sound: the first of a label's names, in small letters."""
    return label.partition(",")[0].lower()
