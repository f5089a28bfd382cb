"""Laws of the encoder: rows depend on the audio alone, not on hops; its state begins with the turn and lasts through long ones."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import line_bundle
import numpy as np
import onnxruntime
import pytest
from line_bundle import BANDS, CHUNK_FRAMES, LABELS, SCORE_HOP, VECTOR_HOP, scene

from edge import _native
from edge.bundle import Bundle
from edge.encoder import Encoder
from edge.errors import BackendError, BundleError, EdgeError
from edge.types import Cause, Encoding, Turn

CHUNK = CHUNK_FRAMES * 160
AUDIO = scene(("Tone", 1.3), ("", 0.4), ("Hum", 1.1), ("Whistle", 0.7), seed=4)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    opened = Bundle.open(line_bundle.make(tmp_path_factory.mktemp("bundle") / "miniature"))
    yield opened
    opened.close()


def turn(start: int, stop: int, final: bool = False, cause: Cause = "hop", id: int = 1) -> Turn:
    return Turn(id, start, stop, final, cause, "sound")


def views(encoder: Encoder, audio: np.ndarray, stops: list[int], start: int = 0, cause: Cause = "silence", id: int = 1) -> list[Encoding]:
    """One turn over audio[start:stops[-1]] in views that end at `stops`, the last one final."""
    found = []
    for stop in stops:
        last = stop == stops[-1]
        wanted = encoder.begin(turn(start, stop, last, cause if last else "hop", id))
        found.append(encoder.extend(audio[wanted:stop]))
    return found


def joined(parts: list[Encoding]) -> tuple[np.ndarray, np.ndarray]:
    for before, after in pairwise(parts):
        assert after.start == before.stop, "every sample is encoded once"
    scores, vectors = [p.scores for p in parts if len(p.scores)], [p.vectors for p in parts if len(p.vectors)]
    return np.concatenate(scores), np.concatenate(vectors)


def one_shot(bundle: Bundle, audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same ONNX by bare onnxruntime on one-shot log-mels of the audio and silence behind it."""
    session = onnxruntime.InferenceSession(bundle.read("encoder"))
    padded = np.concatenate([audio, np.zeros(2 * CHUNK, np.float32)])
    mels = _native.log_mel(padded, BANDS, 50.0, 8000.0)
    state = {name: np.zeros(shape, np.float32) for name, shape in line_bundle.INPUTS.items() if name != "mels"}
    scores, vectors = [], []
    for index in range(-(-len(audio) // CHUNK)):
        part = mels[None, index * CHUNK_FRAMES : (index + 1) * CHUNK_FRAMES]
        s, v, *after = session.run(["scores", "vectors", "next_00", "next_01"], {"mels": part, **state})
        state = dict(zip(state, after, strict=True))
        scores.append(s[0])
        vectors.append(v[0])
    return np.concatenate(scores)[: -(-len(audio) // SCORE_HOP)], np.concatenate(vectors)


@pytest.mark.parametrize("length", [1, 159, 400, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK + 240, 3 * CHUNK + 77, len(AUDIO)])
def test_a_turn_gives_what_the_model_gives_in_one_go(bundle: Bundle, length: int) -> None:
    (found,) = views(Encoder(bundle), AUDIO, [length])
    scores, vectors = one_shot(bundle, AUDIO[:length])
    assert (found.start, found.stop, found.score_hop, found.hop) == (0, length, SCORE_HOP, VECTOR_HOP)
    assert np.array_equal(found.scores, scores)
    assert np.array_equal(found.vectors, vectors)


@pytest.mark.parametrize("seed", range(6))
def test_views_of_any_length_give_the_same_rows(bundle: Bundle, seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 40))
    stops = sorted({*rng.integers(1, len(AUDIO), count).tolist(), len(AUDIO)})
    scores, vectors = joined(views(Encoder(bundle), AUDIO, stops))
    expected = one_shot(bundle, AUDIO)
    assert np.array_equal(scores, expected[0])
    assert np.array_equal(vectors, expected[1])


def test_the_rows_move_with_the_sound(bundle: Bundle) -> None:
    """Else the laws above would hold for an encoder that hears nothing."""
    scores, vectors = one_shot(bundle, AUDIO)
    middle = {label: scores[int(at * 25)] for label, at in {"Tone": 0.7, "Hum": 2.2, "Whistle": 3.2}.items()}
    for label, row in middle.items():
        assert line_bundle.LABELS[int(row.argmax())] == label
        assert row.max() > 0.9
    assert np.abs(np.diff(vectors, axis=0)).max() > 0.1


def test_each_turn_begins_with_an_empty_state(bundle: Bundle) -> None:
    encoder = Encoder(bundle)
    views(encoder, AUDIO, [20_000, 30_000])
    again = joined(views(encoder, AUDIO, [40_000, 50_000], start=35_000, id=2))
    fresh = joined(views(Encoder(bundle), AUDIO, [40_000, 50_000], start=35_000))
    assert all(np.array_equal(a, b) for a, b in zip(again, fresh, strict=True))
    other = Encoder(bundle)
    views(other, AUDIO, [35_000], cause="longest")
    carried = joined(views(other, AUDIO, [40_000, 50_000], start=35_000, id=2))
    assert not np.array_equal(carried[1][:5], fresh[1][:5]), "a state that is carried shows"


def test_a_turn_that_goes_on_after_the_longest_goes_on_in_the_encoder(bundle: Bundle) -> None:
    encoder = Encoder(bundle)
    cut = 3 * CHUNK + 1111
    parts = views(encoder, AUDIO, [10_000, cut], cause="longest")
    assert parts[-1].stop == 3 * CHUNK, "what does not fill a chunk waits for the turn that goes on"
    parts += views(encoder, AUDIO, [cut + 500, len(AUDIO)], start=cut, id=2)
    assert all(np.array_equal(a, b) for a, b in zip(joined(parts), one_shot(bundle, AUDIO), strict=True))


class Counting:
    """A model with a state of the stream and one of the turn, each the number of chunks so far; scores tell both."""

    def __init__(self) -> None:
        self.inputs = {"mels": ("float32", (1, CHUNK_FRAMES, BANDS)), "state_00": ("float32", (1, 1)), "turn_00": ("float32", (1, 1))}
        rows, vectors = CHUNK // SCORE_HOP, CHUNK // VECTOR_HOP
        self.outputs = {"scores": ("float32", (1, rows, len(LABELS))), "vectors": ("float32", (1, vectors, 8))}
        self.outputs |= {"next_00": ("float32", (1, 1)), "next_turn_00": ("float32", (1, 1))}

    def run(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = {name: np.zeros([d or 1 for d in shape], np.float32) for name, (_, shape) in self.outputs.items()}
        found["next_00"], found["next_turn_00"] = arrays["state_00"] + 1, arrays["turn_00"] + 1
        found["scores"][..., 0], found["scores"][..., 1] = arrays["state_00"], arrays["turn_00"]
        return found


def test_what_was_told_in_a_turn_is_forgotten_by_the_turn_that_goes_on(bundle: Bundle) -> None:
    encoder = Encoder(bundle, model=Counting())
    views(encoder, AUDIO, [3 * CHUNK + 800], cause="longest")
    (found,) = views(encoder, AUDIO, [6 * CHUNK], start=3 * CHUNK + 800, id=2)
    per_chunk = CHUNK // SCORE_HOP
    assert found.scores[::per_chunk, 0].tolist() == [3.0, 4.0, 5.0], "the stream's state goes on"
    assert found.scores[::per_chunk, 1].tolist() == [0.0, 1.0, 2.0], "the turn's begins anew"


def test_a_turn_that_begins_elsewhere_after_the_longest_begins_anew(bundle: Bundle) -> None:
    encoder = Encoder(bundle)
    views(encoder, AUDIO, [20_000], cause="longest")
    later = joined(views(encoder, AUDIO, [40_000], start=20_001, id=2))
    fresh = joined(views(Encoder(bundle), AUDIO, [40_000], start=20_001))
    assert all(np.array_equal(a, b) for a, b in zip(later, fresh, strict=True))


def test_rows_wholly_behind_the_end_are_left_out(bundle: Bundle) -> None:
    for length in (1, SCORE_HOP, SCORE_HOP + 1, CHUNK + 3 * SCORE_HOP):
        (found,) = views(Encoder(bundle), AUDIO, [length])
        assert len(found.scores) == -(-length // SCORE_HOP)
        assert len(found.vectors) == -(-length // VECTOR_HOP)
        assert found.stop == length


def test_a_hop_too_short_for_a_chunk_gives_no_row(bundle: Bundle) -> None:
    encoder = Encoder(bundle)
    encoder.begin(turn(0, 100))
    found = encoder.extend(AUDIO[:100])
    assert (found.start, found.stop, len(found.scores), len(found.vectors)) == (0, 0, 0, 0)


def test_only_new_samples_are_asked_for(bundle: Bundle) -> None:
    encoder = Encoder(bundle)
    assert encoder.begin(turn(1000, 9000)) == 1000
    encoder.extend(AUDIO[1000:9000])
    assert encoder.begin(turn(1000, 9500)) == 9000
    encoder.extend(AUDIO[9000:9500])
    assert encoder.meter.samples == 8500


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"labels": ["Hum", "Tone"]}, "scores 4 labels, the manifest names 2"),
        ({"encoder": {"chunk_frames": 25, "score_hop": 800, "vector_hop": 4000}}, r"mels are \[1, 32, 64\], by the manifest \[1, 25, 64\]"),
        ({"encoder": {"chunk_frames": 32, "score_hop": 320, "vector_hop": 5120}}, r"scores are \[1, 8\], by the manifest \[1, 16\]"),
        ({"encoder": {"chunk_frames": 32, "score_hop": 640, "vector_hop": 2560}}, r"vectors are \[1, 1\], by the manifest \[1, 2\]"),
        ({"encoder": {"chunk_frames": 32, "score_hop": 600, "vector_hop": 5120}}, "no multiple of score_hop"),
        ({"encoder": {"chunk_frames": 32, "score_hop": 640}}, "'vector_hop' is missing"),
        ({"encoder": {}}, "'chunk_frames' is missing"),
        (
            {"front_end": {"sample_rate": 8000, "frame": 400, "hop": 160, "bands": 64, "low_hz": 50, "high_hz": 8000}},
            "front end is not 16 kHz",
        ),
        ({"front_end": {"sample_rate": 16000, "frame": 400, "hop": 160, "bands": 40, "low_hz": 50, "high_hz": 8000}}, r"\[1, 32, 40\]"),
        ({"front_end": {"sample_rate": 16000, "frame": 400, "hop": 160, "bands": 64, "low_hz": 4000, "high_hz": 50}}, "low_hz"),
    ],
)
def test_a_description_that_does_not_fit_the_model_is_refused(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    with pytest.raises(EdgeError, match=says) as caught:
        Encoder(Bundle.open(line_bundle.make(tmp_path / "wrong", captioner=False, **changes)))
    assert isinstance(caught.value, BackendError | BundleError)
    assert "bundle miniature" in str(caught.value) or "bundle wrong" in str(caught.value)


def test_a_model_with_other_ports_is_refused(tmp_path: Path) -> None:
    folder = line_bundle.make(tmp_path / "wrong", captioner=False, model=line_bundle.encoder_bytes(score_name="probabilities"))
    with pytest.raises(BackendError, match="not those of a streaming encoder; export it again"):
        Encoder(Bundle.open(folder))


@pytest.mark.parametrize("piece", [7_000, CHUNK, CHUNK + 1, 160, 1_000_000])
def test_a_whole_clip_in_any_pieces_is_one_turn_however_the_encoder_was_used(bundle: Bundle, piece: int) -> None:
    encoder = Encoder(bundle)
    views(encoder, AUDIO[::-1].copy(), [9_000, 20_000])
    for audio in (AUDIO, AUDIO[:CHUNK], AUDIO[: CHUNK + 1], AUDIO[:1]):
        scores, vectors = one_shot(bundle, audio)
        found = encoder.whole(audio[start : start + piece] for start in range(0, len(audio), piece))
        assert (found.start, found.stop, found.hop, found.score_hop) == (0, len(audio), VECTOR_HOP, SCORE_HOP)
        assert np.array_equal(found.scores, scores)
        assert np.array_equal(found.vectors, vectors)
    assert len(encoder.whole([]).vectors) == 0
