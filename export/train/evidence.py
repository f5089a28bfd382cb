"""What the language model is given of the encoder's scores: the decisions of the runtime's own sound tracker, made inside the model.

Scores of each 40 ms pass through the same moving mean, thresholds and bridge as in `edge.sounds.SoundTracker`. What they decide is told
row by row, one for each 320 ms: at most one new sound with its place in the order, whether it began while another went on, and
the second of its onset; at most one word with its place; and how things stand at the row's end: which sounds go on, how many single events
each counted sound has had, how loud each was alone. So captions rest on what the sound records tell, nothing can be learnt by heart, and
order and time survive on the way into the language model. State is carried from chunk to chunk, from the beginning of a turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.types import SAMPLE_RATE
from export.train.labels import COUNTED, STARTER_LABELS, WORDS

ROWS = 8
"""Rows of scores (40 ms) in one row of evidence (320 ms)."""
ROW_SAMPLES = 640
MOST_TOLD, MOST_WORDS, MOST_COUNT, MOST_SECONDS = 8, 6, 5, 32
OVERLAP_ROWS = 0.0
"""A sound that begins before everything earlier has ended begins "while" it goes on. Captions of a truth ask for 0.3 s; with the encoder's
estimates of onset and end that told overlaps of fold 4 as sequences, for the first sound's score sinks early. Of 108 two-sound scenes in
which both were named, 0.63 were told right with 0.3 s and a lower threshold of 0.4 of the upper, 0.68 with 0 s and 0.5.
"""
LEVELS_DB = torch.arange(-60.0, 40.0, 4.0)
"""Centres of the level's bins: mel energies of a full-scale sine lie near +30 dB."""
QUIET_DB = -100.0
TIMES = 8
ONSET_ON, WORD_ON = 0.5, 0.85
"""Probability from which an onset or a word counts. Of 150 French voices 0.13 are told to say some word with 0.85 (0.17 with 0.8, 0.07 with
0.9), of 167 digits of the validation speaker 0.79 come out right and alone (0.83 and 0.75).
"""
WORD_HOLD = 8
"""Rows (0.32 s) in which the same word is not told again: its score may waver once around the threshold."""
L, C, W = len(STARTER_LABELS), len(COUNTED), len(WORDS)
SPEECH, NOISE = STARTER_LABELS.index("Speech"), STARTER_LABELS.index("Noise")
COUNTED_AT = [STARTER_LABELS.index(label) for label in COUNTED]


class Marks(NamedTuple):
    """Decisions row by row, float32[B, R, …]: began, age (rows since it began to rise), active, above of labels; onsets; words.

    level_db [B, R / 8]: of each chunk.
    """

    began: Tensor
    age: Tensor
    active: Tensor
    above: Tensor
    onsets: Tensor
    words: Tensor
    level_db: Tensor


class Told(NamedTuple):
    """What is told chunk by chunk, float32[B, T, …].

    event [L]: the new sound. follows [L]: the one told before it. order [8]: its place. together, again [1]: it began while an earlier one
    went on; it was told before. onset [1]: rows from the turn's beginning. word [W], word_order [6].
    counted [C], count [5]: the sound
    whose number of single events has grown, and to how many. As they stand at the end of the chunk: active, above, told, loud [L] (level
    alone, 0 unknown, else (dB + 100) / 40), counts [C], said and number [1] (words and sounds so far).
    """

    event: Tensor
    follows: Tensor
    order: Tensor
    together: Tensor
    again: Tensor
    onset: Tensor
    word: Tensor
    word_order: Tensor
    active: Tensor
    above: Tensor
    told: Tensor
    loud: Tensor
    counted: Tensor
    count: Tensor
    counts: Tensor
    said: Tensor
    number: Tensor


GROUPS = {
    **{"event": L, "follows": L, "order": MOST_TOLD, "together": 1, "again": 1, "some": 1, "seconds": MOST_SECONDS},
    **{"word": W, "word_order": MOST_WORDS, "active": L, "above": L, "told": L, "loud": L, "counted": C, "count": MOST_COUNT},
    **{"counts": C * MOST_COUNT, "said": MOST_WORDS, "number": MOST_TOLD, "bins": len(LEVELS_DB), "level": 1, "sin": TIMES, "cos": TIMES},
}
"""What stands in a row of evidence, in this order, and how many values each takes."""
WIDTH = sum(GROUPS.values())


def columns(group: str) -> slice:
    """Where a group lies in a row of evidence."""
    start = sum(size for _, size in takewhile(lambda item: item[0] != group, GROUPS.items()))
    return slice(start, start + GROUPS[group])


def steps(value: Tensor, most: int) -> Tensor:
    """[…, 1] -> […, most]: 1 at the place of a whole number from 1 to most (more counts as most), a ramp in between."""
    return torch.relu(1.0 - (value.clamp(max=float(most)) - torch.arange(1.0, most + 1)).abs())


def newest(flags: Tensor) -> Tensor:
    """[B, R, L] of 0 and 1 -> for each row the number (from 1) of the newest row up to it that is set, 0 for none."""
    rows = flags.shape[1]
    numbered = flags * torch.arange(1.0, rows + 1)[None, :, None]
    if rows > ROWS:
        return numbered.cummax(dim=1).values
    return (numbered[:, None] * torch.ones(rows, rows).tril()[None, :, :, None]).amax(dim=2)  # ONNX has no cummax


class Evidence(nn.Module):
    """Logits and log-mels -> rows of evidence [B, T, WIDTH].

    sounds: the manifest's table of thresholds, which the tracker follows as well.
    """

    def __init__(self, sounds: Mapping[str, Any]) -> None:
        super().__init__()
        options = [sounds["default"] | sounds["labels"].get(label, {}) for label in STARTER_LABELS]
        self.longest = max(o["smooth_rows"] for o in options)
        kernel = torch.zeros(self.longest, L)
        for i, o in enumerate(options):
            kernel[: o["smooth_rows"], i] = 1.0
        self.register_buffer("kernel", kernel)
        self.register_buffer("on", torch.tensor([float(o["on"]) for o in options]))
        self.register_buffer("off", torch.tensor([float(o["off"]) for o in options]))
        self.register_buffer("bridge", torch.tensor([o["bridge_s"] * SAMPLE_RATE / ROW_SAMPLES for o in options]))
        self.register_buffer("lag", torch.tensor([float((o["smooth_rows"] - 1) // 2) for o in options]))
        self.register_buffer("named", torch.ones(L) - functional.one_hot(torch.tensor(NOISE), L))
        self.track_sizes = [(self.longest - 1) * L, L, L, L, C, WORD_HOLD * W, 1]
        self.memory_sizes = [L, L, L, L, L, L, C, C, C, 1, 1]

    def state(self, batch: int) -> Tensor:
        """The state before a turn's first row, [B, S]: scores, tracks, onsets, words, chunks so far; then what has been told."""
        return torch.zeros(batch, sum(self.track_sizes) + sum(self.memory_sizes))

    def forward(self, labels: Tensor, onsets: Tensor, words: Tensor, mels: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, R, …] and log-mels [B, 4 R, bands] -> evidence [B, R / 8, WIDTH], state."""
        first = state.split([*self.track_sizes, sum(self.memory_sizes)], dim=1)[6]
        marks, told, after = self.follow(labels, onsets, words, mels, state)
        return self.rows(marks, told, first), after

    def follow(self, labels: Tensor, onsets: Tensor, words: Tensor, mels: Tensor, state: Tensor) -> tuple[Marks, Told, Tensor]:
        """Marks of every row, what is told chunk by chunk, and the next state."""
        tracks, memory = state.split([sum(self.track_sizes), sum(self.memory_sizes)], dim=1)
        marks, tracks = self.marks(labels, onsets, words, mels, tracks)
        told, memory = self.tell(marks, tracks[:, -1:] - marks.level_db.shape[1], memory)
        return marks, told, torch.cat((tracks, memory), dim=1)

    def marks(self, labels: Tensor, onsets: Tensor, words: Tensor, mels: Tensor, state: Tensor) -> tuple[Marks, Tensor]:
        """The decisions and the next state of the tracks, whose last value counts the chunks."""
        b, rows, _ = labels.shape
        keep = (self.longest - 1) * L
        recent, rise, gap, active, onset, word, chunks = state.split(self.track_sizes, dim=1)
        scores = torch.cat((recent.reshape(b, self.longest - 1, L), torch.sigmoid(labels)), dim=1)
        heard = torch.arange(1.0, rows + 1)[None, :, None] + chunks.unsqueeze(2) * ROWS
        width = torch.minimum(heard, self.kernel.sum(dim=0))  # a turn's first rows have less behind them
        taps = torch.arange(rows)[:, None] + self.longest - 1 - torch.arange(self.longest)
        smooth = (scores[:, taps] * self.kernel).sum(dim=2) / width
        above, on = (smooth >= self.off).float(), (smooth >= self.on).float()
        # Row by row: a label is active from where its score reaches `on` until it has been below `off` for longer than the bridge. Told by
        # the places of the newest rows, for a row at a time costs a dozen operations each, and on a device every operation its overhead.
        index = torch.arange(1.0, rows + 1)[None, :, None]
        last_above = newest(above)
        gaps = index - last_above + (last_above == 0) * gap.unsqueeze(1)
        over = (gaps > self.bridge).float()
        is_active = (torch.maximum(newest(on), 0.5 * active.unsqueeze(1)) > newest(over)).float()
        was_active = torch.cat((active.unsqueeze(1), is_active[:, :-1]), dim=1)
        last_broken = newest(torch.maximum(1 - torch.maximum(above, was_active), was_active * over))
        rises = index - last_broken + (last_broken == 0) * rise.unsqueeze(1)
        found_rows = on * (1 - was_active), rises + self.lag, is_active
        onset_now = (torch.sigmoid(onsets) >= ONSET_ON).float()
        onset_before = torch.cat((onset.unsqueeze(1), onset_now[:, :-1]), dim=1)
        word_p = torch.cat((torch.zeros_like(words[:, :, :1]), words), dim=2).softmax(dim=2)[:, :, 1:]
        word_now = (word_p >= WORD_ON).float()
        recently = torch.cat((word.reshape(b, WORD_HOLD, W), word_now), dim=1)
        word_before = functional.max_pool1d(recently[:, :-1].transpose(1, 2), WORD_HOLD, 1).transpose(1, 2)
        level = 4.342945 * torch.log(torch.exp(mels).sum(dim=2).reshape(b, rows // ROWS, -1).mean(dim=2) + 1e-10)
        edges = onset_now * (1 - onset_before), word_now * (1 - word_before)
        after = [
            scores[:, rows:].reshape(b, keep),
            rises[:, -1],
            gaps[:, -1],
            is_active[:, -1],
            onset_now[:, -1],
            recently[:, rows:].reshape(b, WORD_HOLD * W),
            chunks + rows // ROWS,
        ]
        return Marks(*found_rows, above, *edges, level), torch.cat(after, dim=1)

    def tell(self, marks: Marks, chunks: Tensor, memory: Tensor) -> tuple[Told, Tensor]:
        """Chunk by chunk: the oldest sound that waits to be told, unless it only goes on after a pause; counts, words and levels.

        chunks [B, 1]: how many came before.
        """
        waiting, age, gap, told, last, loud, counts, hold, before, number, said = memory.split(self.memory_sizes, dim=1)
        found: list[list[Tensor]] = [[] for _ in Told._fields]
        left = torch.arange(ROWS - 1.0, -1.0, -1.0)[None, :, None]  # rows from here to the end of the chunk
        tie = 1000.0 - torch.arange(float(L)) / 100.0
        count_tie = 2.0 - torch.arange(float(C)) / 100.0
        word_tie = 2.0 - torch.arange(float(W)) / 100.0
        for t in range(marks.level_db.shape[1]):
            rows = slice(t * ROWS, (t + 1) * ROWS)
            began, active, above = marks.began[:, rows], marks.active[:, rows], marks.above[:, rows]
            started = began.amax(dim=1) * self.named
            age = torch.maximum((age + ROWS) * waiting, ((marks.age[:, rows] + left) * began).amax(dim=1))
            waiting = torch.maximum(waiting, started) * (1 - last)
            newest = (above * (ROWS - left)).amax(dim=1)
            gap = torch.where(newest > 0, ROWS - newest, gap + ROWS)
            rank = waiting * (age + tie)
            event = waiting * (rank >= rank.amax(dim=1, keepdim=True)).float()
            some = event.amax(dim=1, keepdim=True)
            onset = torch.relu((chunks + t + 1) * ROWS - (event * age).sum(dim=1, keepdim=True)) * some
            over = (event * age).sum(dim=1, keepdim=True) - gap - self.lag  # the mean lags behind the end of a sound
            together = (told * (1 - event) * (over > OVERLAP_ROWS).float()).amax(dim=1, keepdim=True) * some
            again = (event * told).amax(dim=1, keepdim=True)
            told, number = torch.maximum(told, event), number + some
            follows = last * some
            last, waiting = torch.where(some > 0, event, last), waiting * (1 - event)
            room = (number < MOST_TOLD + 0.5).float()
            # An onset is told before its sound is known: what came in the last two chunks waits for it.
            here = active.amax(dim=1)[:, COUNTED_AT]
            heard = marks.onsets[:, rows].sum(dim=1)
            more = here * (hold + heard)
            counts = counts + more
            grown = (more > 0.5).float() * count_tie
            counted = (grown > 0).float() * (grown >= grown.amax(dim=1, keepdim=True)).float()
            count = steps((counted * counts).sum(dim=1, keepdim=True), MOST_COUNT) * counted.amax(dim=1, keepdim=True)
            hold, before = (1 - here) * (before + heard), (1 - here) * heard
            word_rank = marks.words[:, rows].amax(dim=1) * word_tie
            word = (word_rank > 0).float() * (word_rank >= word_rank.amax(dim=1, keepdim=True)).float()
            spoken = word.amax(dim=1, keepdim=True)
            said = said + spoken
            sounding = above.amax(dim=1) * self.named
            alone = sounding * (sounding.sum(dim=1, keepdim=True) < 1.5).float()
            loud = torch.maximum(loud, alone * torch.relu(marks.level_db[:, t : t + 1] - QUIET_DB) / 40.0)
            values = (
                *(event * room, follows * room, steps(number, MOST_TOLD) * some * room, together * room, again * room, onset),
                *(word, steps(said, MOST_WORDS) * spoken * (said < MOST_WORDS + 0.5).float()),
                *(active[:, -1] * self.named, above[:, -1] * self.named, told, loud, counted, count, counts, said, number),
            )
            for kept, value in zip(found, values, strict=True):
                kept.append(value)
        memory = torch.cat((waiting, age, gap, told, last, loud, counts, hold, before, number, said), dim=1)
        return Told(*(torch.stack(kept, dim=1) for kept in found)), memory

    def rows(self, marks: Marks, told: Told, first: Tensor) -> Tensor:
        """Rows of evidence. first [B, 1]: number of the first chunk."""
        some = told.order.amax(dim=2, keepdim=True)
        seconds = torch.relu(1.0 - (told.onset * (ROW_SAMPLES / SAMPLE_RATE) - torch.arange(float(MOST_SECONDS))).abs()) * some
        level = marks.level_db.unsqueeze(2)
        angles = (first + torch.arange(0.0, level.shape[1])).unsqueeze(2) * (3.14159265 / 2.0 ** torch.arange(1, TIMES + 1))
        parts = [
            *(told.event, told.follows, told.order, told.together, told.again, some, seconds, told.word, told.word_order),
            *(told.active, told.above, told.told, told.loud, told.counted, told.count),
            steps(told.counts.unsqueeze(3), MOST_COUNT).flatten(2),
            *(steps(told.said, MOST_WORDS), steps(told.number, MOST_TOLD)),
            *(torch.relu(1.0 - (level - LEVELS_DB).abs() / 4.0), level / 40.0, torch.sin(angles), torch.cos(angles)),
        ]
        return torch.cat(parts, dim=2)
