"""Laws of captions: revisions and one final, committed text that never changes, nothing without evidence, a steady sound told once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import line_bundle
import numpy as np
import pytest
from line_bundle import CAPTION, CONTEXT, LIMIT_TOKENS, VECTOR_HOP, WIDTH

from edge.backends.llama import LlamaModel
from edge.bundle import Bundle
from edge.captioner import Captioner
from edge.errors import BundleError
from edge.types import Caption, Cause, Encoding, Sound, Turn

SECOND = 16_000
HOP = SECOND // 2
BARK = Sound(1, "Tone", 0, None, 0.9)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    opened = Bundle.open(line_bundle.make(tmp_path_factory.mktemp("bundle") / "miniature"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> Iterator[LlamaModel]:
    loaded = LlamaModel(bundle.file("captioner"), context=CONTEXT)
    yield loaded
    loaded.close()


@pytest.fixture
def captioner(bundle: Bundle, model: LlamaModel) -> Captioner:
    model.reset()
    return Captioner(bundle, model=model)


def rows(count: int, seed: int = 0) -> Encoding:
    vectors = np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32) * np.float32(0.5)
    return Encoding(0, count * VECTOR_HOP, vectors, VECTOR_HOP, np.zeros((0, 4), np.float32), 640)


def told(
    captioner: Captioner,
    id: int,
    parts: Sequence[Encoding],
    sounds: Sequence[Sound] = (BARK,),
    start: int = 0,
    cause: Cause = "silence",
) -> list[Caption]:
    """One turn, a view each half second; the captions that come of it."""
    found = []
    for index, part in enumerate(parts):
        final = index == len(parts) - 1
        view = Turn(id, start, start + (index + 1) * HOP, final, cause if final else "hop", "sound")
        found.append(captioner.revise(view, part, sounds))
    return [caption for caption in found if caption is not None]


@pytest.mark.parametrize("seed", range(1000))
def test_committed_text_never_changes_and_never_shrinks(captioner: Captioner, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [rows(int(rng.integers(0, 4)), 1000 * seed + i) for i in range(8)]
    captions = told(captioner, 1, parts)
    assert [c.revision for c in captions] == list(range(1, len(captions) + 1))
    assert [c.final for c in captions] == [False] * (len(captions) - 1) + [True]
    for index, caption in enumerate(captions):
        assert 0 <= caption.committed <= len(caption.text)
        for later in captions[index + 1 :]:
            assert later.committed >= caption.committed
            assert later.text.startswith(caption.text[: caption.committed])
    assert captions[-1].committed == len(captions[-1].text), "nothing follows a final"


def test_texts_change_and_are_committed_before_the_final(bundle: Bundle, model: LlamaModel) -> None:
    """Else the law above would hold for a captioner that never commits, or a model that always says the same."""
    changed = early = 0
    for seed in range(25):
        captions = told(Captioner(bundle, model=model), 1, [rows(2, 1000 * seed + i) for i in range(8)])
        changed += len({c.text for c in captions}) > 2
        early += any(c.committed for c in captions[:-1])
    assert changed > 10
    assert early > 5


def test_only_whole_words_are_committed(captioner: Captioner) -> None:
    for seed in range(20):
        fresh = Sound(seed + 1, "Tone", 0, None, 0.9)
        captions = told(captioner, seed + 1, [rows(1, 50 * seed + i) for i in range(8)], [fresh], start=seed * 10**6)
        assert len(captions) == 8
        for caption in captions[:-1]:
            head, tail = caption.text[: caption.committed], caption.text[caption.committed :]
            assert not head or (head[-1].isalnum() and not tail[:1].isalnum()), caption


def test_a_view_with_nothing_new_costs_the_model_nothing_and_says_the_same(
    bundle: Bundle, model: LlamaModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    decode = LlamaModel.decode

    def counted(self: LlamaModel, *args: object) -> list[int]:
        asked.append(1)
        return decode(self, *args)

    monkeypatch.setattr(LlamaModel, "decode", counted)
    for seed in range(6):
        captioner = Captioner(bundle, model=model)
        parts = [rows(2, seed), rows(0, 0), rows(0, 0), rows(1, seed + 50), rows(0, 0)]
        asked.clear()
        captions = told(captioner, 1, parts)
        assert captions[0].text == captions[1].text == captions[2].text
        assert captions[3].text == captions[4].text
        assert [c.revision for c in captions] == [1, 2, 3, 4, 5]
        assert captions[4].final
        assert len(asked) == 2
        assert captions[1].committed >= captions[0].committed


def test_a_caption_is_what_a_fresh_model_says_about_the_same_rows(bundle: Bundle, model: LlamaModel) -> None:
    """While nothing is committed: rows that stayed in the model are worth rows evaluated anew."""
    compared = 0
    for seed in range(12):
        captioner = Captioner(bundle, model=model)
        parts = [rows(1 + i % 3, 100 * seed + i) for i in range(6)]
        captions = told(captioner, 1, parts)
        for count, caption in enumerate(captions, 1):
            if any(before.committed for before in captions[: count - 1]):
                break
            model.reset()
            model.extend(np.concatenate([p.vectors for p in parts[:count]]))
            assert caption.text == model.detokenize(model.decode(model.tokenize("<caption>"), [], 0, LIMIT_TOKENS))
            compared += 1
    assert compared > 20


def test_the_same_rows_in_other_hops_give_the_same_first_caption(bundle: Bundle, model: LlamaModel) -> None:
    whole = rows(12, 5)
    texts = set()
    for cut in ([12], [1, 11], [5, 7], [3, 3, 3, 3]):
        captioner, start, parts = Captioner(bundle, model=model), 0, []
        for count in cut:
            parts.append(Encoding(0, 0, whole.vectors[start : start + count], VECTOR_HOP, whole.scores, 640))
            start += count
        for index, part in enumerate(parts):  # evidence comes with the last view only
            view = Turn(1, 0, (index + 1) * HOP, index == len(parts) - 1, "silence" if index == len(parts) - 1 else "hop", "sound")
            caption = captioner.revise(view, part, [BARK] if view.final else [])
        assert caption is not None
        texts.add(caption.text)
    assert len(texts) == 1


def test_nothing_is_said_without_evidence(captioner: Captioner) -> None:
    assert told(captioner, 1, [rows(3, i) for i in range(4)], sounds=()) == []
    assert told(captioner, 4, [rows(3, i) for i in range(4)], sounds=(), start=600 * SECOND) == [], "no reminder of nothing"
    assert captioner.meter.calls == 0, "and nothing is decoded"
    assert told(captioner, 2, [rows(0)] * 3) == [], "evidence without a row of audio is nothing to say either"
    first = told(captioner, 3, [rows(3)])
    assert [(c.id, c.revision, c.final) for c in first] == [(1, 1, True)], "what was silent took no id"


def test_unspoken_labels_are_no_evidence(captioner: Captioner) -> None:
    hiss = Sound(5, line_bundle.UNSPOKEN, 0, None, 0.9)
    assert told(captioner, 1, [rows(3, i) for i in range(4)], [hiss]) == []
    assert len(told(captioner, 2, [rows(3, i) for i in range(4)], [hiss, BARK])) == 4


def test_a_sound_that_goes_on_is_told_once_and_again_when_the_reminder_is_due(bundle: Bundle, model: LlamaModel) -> None:
    captioner = Captioner(bundle, remind_s=60.0, model=model)
    finals = []
    for turn in range(8):  # 30 s each, one after another, of the same sound
        start = turn * 30 * SECOND
        for half in (15, 30):
            view = Turn(turn + 1, start, start + half * SECOND, half == 30, "longest" if half == 30 else "hop", "sound")
            caption = captioner.revise(view, rows(2, turn), [BARK])
            if caption is not None and caption.final:
                finals.append((caption.id, caption.stop // SECOND))
    # Told up to 30 s; at 90 s the minute has passed, at 150 s again …
    assert finals == [(1, 30), (2, 90), (3, 150), (4, 210)]


def test_a_new_sound_is_told_at_once_and_the_old_one_beside_it_is_no_hindrance(captioner: Captioner) -> None:
    assert told(captioner, 1, [rows(2), rows(2, 1)])
    assert told(captioner, 2, [rows(2), rows(2, 1)], start=40_000) == []
    other = Sound(2, "Hum", 50_000, None, 0.8)
    assert [c.id for c in told(captioner, 3, [rows(2), rows(2, 1)], [BARK, other], start=60_000)] == [2, 2]


def test_the_same_kind_of_sound_is_told_again_after_a_pause_and_not_within_a_second(bundle: Bundle, model: LlamaModel) -> None:
    again = Sound(2, "Tone", 0, None, 0.9)
    for pause, expected in ((SECOND // 2, 0), (SECOND, 0), (SECOND + 1, 1), (3 * SECOND, 1)):
        captioner = Captioner(bundle, model=model)
        stop = told(captioner, 1, [rows(2), rows(2, 1)])[-1].stop
        assert len(told(captioner, 2, [rows(2)], [again], start=stop + pause)) == expected


@pytest.mark.parametrize("cause", ["silence", "longest", "gap", "end"])
def test_what_was_begun_gets_its_final_however_the_turn_closes(captioner: Captioner, cause: Cause) -> None:
    captions = told(captioner, 1, [rows(2), rows(0)], cause=cause)
    assert [(c.revision, c.final) for c in captions] == [(1, False), (2, True)]


def test_ids_grow_by_one_and_a_turn_keeps_its_own(captioner: Captioner) -> None:
    ids = []
    for turn in range(1, 6):
        fresh = Sound(turn, "Tone", 0, None, 0.9)
        captions = told(captioner, turn, [rows(1, turn), rows(1, turn + 9)], [fresh] if turn != 3 else [], start=turn * 5 * SECOND)
        ids.append([c.id for c in captions])
    assert ids == [[1, 1], [2, 2], [], [3, 3], [4, 4]]


def test_a_turn_longer_than_the_context_is_captioned_to_its_end(captioner: Captioner, model: LlamaModel) -> None:
    captions = told(captioner, 1, [rows(10, i) for i in range(CONTEXT // 5)])
    assert captions[-1].final
    assert model.rows == CONTEXT - LIMIT_TOKENS - 1, "the prefix is full, and prompt and text still fit behind it"
    assert told(captioner, 2, [rows(3)], [Sound(9, "Hum", 0, None, 1.0)], start=10**7), "the next turn begins anew"
    assert model.rows == 3


def test_revisions_of_a_text_longer_than_one_evaluation_keep_what_is_committed(tmp_path: Path) -> None:
    caption = {"prompt": "<caption>", "limit_tokens": 90, "context": CONTEXT}
    bundle = Bundle.open(line_bundle.make(tmp_path / "long", caption=caption))
    captioner = Captioner(bundle)
    longest = 0
    for turn in range(1, 7):
        captions = told(captioner, turn, [rows(1, 20 * turn + i) for i in range(6)], [Sound(turn, "Tone", 0, None, 1.0)], turn * 10**6)
        for before, after in pairwise(captions):
            assert after.text.startswith(before.text[: before.committed])
        longest = max(longest, *(len(c.text.split()) for c in captions))
    captioner.close()
    assert longest > 64, "or the law was not tried"


def prompts_of(bundle: Bundle, model: LlamaModel, monkeypatch: pytest.MonkeyPatch) -> tuple[list[list[int]], list[Caption]]:
    """The prompt of each revision of one turn, and the revisions."""
    seen: list[list[int]] = []
    decode = LlamaModel.decode
    with monkeypatch.context() as patch:
        patch.setattr(LlamaModel, "decode", lambda model, prompt, *rest: (seen.append(list(prompt)), decode(model, prompt, *rest))[1])
        model.reset()
        return seen, told(Captioner(bundle, model=model), 1, [rows(2, i) for i in range(4)])


def test_the_final_prompt_is_that_of_the_final_and_of_nothing_else(
    bundle: Bundle, model: LlamaModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, without = prompts_of(bundle, model, monkeypatch)
    assert plain == [[CAPTION]] * 4, "where the manifest has none, the prompt is that of every view"
    caption = {"prompt": "<caption>", "final_prompt": "<caption><caption>", "limit_tokens": LIMIT_TOKENS, "context": CONTEXT}
    own = Bundle.open(line_bundle.make(tmp_path / "own", caption=caption))
    prompts, captions = prompts_of(own, model, monkeypatch)
    assert prompts == [[CAPTION]] * 3 + [[CAPTION, CAPTION]]
    assert captions[:-1] == without[:-1]
    assert captions[-1].text.startswith(captions[-2].text[: captions[-2].committed])
    assert captions[-1].text != without[-1].text, "or the law was not tried"


def test_the_longer_prompt_has_room_in_the_context(model: LlamaModel, tmp_path: Path) -> None:
    for name, prompt, final in (("a", "<caption>", "<caption>" * 5), ("b", "<caption>" * 5, "<caption>")):
        caption = {"prompt": prompt, "final_prompt": final, "limit_tokens": LIMIT_TOKENS, "context": CONTEXT}
        model.reset()
        captioner = Captioner(Bundle.open(line_bundle.make(tmp_path / name, caption=caption)), model=model)
        assert told(captioner, 1, [rows(70), rows(70)])[-1].final
        assert model.rows == CONTEXT - LIMIT_TOKENS - 5


def test_wrong_descriptions_are_refused(tmp_path: Path) -> None:
    for number, (caption, says) in enumerate(
        [
            ({"prompt": "<caption>", "limit_tokens": 127, "context": 128}, "has no room for audio beside prompt and 127 tokens"),
            ({"prompt": "<caption>", "final_prompt": "<caption>" * 116, "limit_tokens": 12, "context": 128}, "has no room for audio"),
            ({"prompt": "<caption>", "final_prompt": "", "limit_tokens": 12, "context": 128}, "'final_prompt' is"),
            ({"prompt": "", "limit_tokens": 12, "context": 128}, "'prompt' is"),
            ({"limit_tokens": 12, "context": 128}, "'prompt' is missing"),
            ({"prompt": "<caption>", "limit_tokens": 12}, "'context' is missing"),
            ({"prompt": "<caption>", "limit_tokens": 12, "context": 128, "unspoken": "Hiss"}, "'unspoken' is"),
        ]
    ):
        with pytest.raises(BundleError, match=says):
            Captioner(Bundle.open(line_bundle.make(tmp_path / str(number), caption=caption)))


def test_a_refused_description_frees_the_model_that_was_loaded_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    freed = []
    close = LlamaModel.close
    monkeypatch.setattr(LlamaModel, "close", lambda model: (freed.append(model), close(model)))
    caption = {"prompt": "<caption>", "limit_tokens": 127, "context": 128}
    with pytest.raises(BundleError):
        Captioner(Bundle.open(line_bundle.make(tmp_path / "wrong", caption=caption)))
    assert len(freed) == 1
