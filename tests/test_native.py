"""Laws of edge._native as seen from Python; the threads and memory orders are tested in native/tests."""

from __future__ import annotations

import array
import ctypes
import math
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from edge import _native
from edge._native import LogMel, Ring, clean, level_dbfs, log_mel

NAN, INF = math.nan, math.inf


def counted(start: int, stop: int) -> np.ndarray:
    """Samples whose value tells their index; never 0, which means lost."""
    return (np.arange(start, stop) % 2**23 + 1).astype(np.float32)


def noise(n: int, deviation: float = 0.1, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, deviation, n).astype(np.float32)


def reference_log_mel(samples: np.ndarray, bands: int = 80, low_hz: float = 0.0, high_hz: float = 8000.0) -> np.ndarray:
    """The definition in float64, written with numpy's own transform."""
    rows = max(0, 1 + (len(samples) - 400) // 160)
    frames = np.stack([samples[160 * t : 160 * t + 400] for t in range(rows)]).astype(np.float64)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    power = np.abs(np.fft.rfft(frames * window, 512)) ** 2
    mel = 2595 * np.log10(1 + np.arange(257) * 31.25 / 700)
    low, high = 2595 * np.log10(1 + np.array([low_hz, high_hz]) / 700)
    centres = np.linspace(low, high, bands + 2)[1:-1]
    weights = np.maximum(0, 1 - np.abs(mel[:, None] - centres) * (bands + 1) / (high - low))
    weights[0] = 0
    return np.log(np.maximum(power @ weights, 1e-10))


# What comes in -------------------------------------------------------------------------------------------------------

TAKERS = {
    "write": lambda samples: Ring(64).write(samples),
    "read": lambda samples: Ring(64).read(0, samples),
    "level_dbfs": level_dbfs,
    "clean": clean,
    "log_mel": log_mel,
    "extend": lambda samples: LogMel().extend(samples),
}


@pytest.mark.parametrize("take", TAKERS.values(), ids=TAKERS)
@pytest.mark.parametrize("samples", [[0.0, 1.0], (0.0,), None, 1.0, "text", iter([0.0])], ids=repr)
def test_only_buffers_are_taken(take, samples):
    with pytest.raises(TypeError, match="must be float32"):
        take(samples)


@pytest.mark.parametrize("take", TAKERS.values(), ids=TAKERS)
@pytest.mark.parametrize("dtype", ["float64", "int16", "float16", "uint8", "complex64", "int32", ">f4"])
def test_only_float32_is_taken(take, dtype):
    with pytest.raises(TypeError, match="must be float32"):
        take(np.zeros(8, dtype))


@pytest.mark.parametrize("take", TAKERS.values(), ids=TAKERS)
def test_shapes_strides_and_alignment_are_checked(take):
    zeros = np.zeros(64, np.float32)
    for samples, complaint in [
        (zeros.reshape(2, 32), "one dimension"),
        (zeros[:1].reshape(()), "one dimension"),
        (zeros[::2], "contiguous"),
        (zeros[::-1], "contiguous"),
        (np.broadcast_to(np.float32(0), 8), "contiguous|writable"),
        (np.zeros(33, np.uint8)[1:].view(np.float32), "aligned"),
    ]:
        with pytest.raises(ValueError, match=complaint):
            take(samples)


@pytest.mark.parametrize("take", [TAKERS["read"], clean], ids=["read", "clean"])
def test_nothing_is_written_into_what_is_read_only(take):
    samples = np.zeros(4, np.float32)
    samples.flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        take(samples)


def test_any_float32_buffer_will_do_and_none_is_held():
    samples = array.array("f", [1.0, 2.0, 3.0])
    ring = Ring(4)
    ring.write(samples)
    ring.write(memoryview(np.ones(1, np.float32)))
    out = array.array("f", [0.0] * 4)
    assert ring.read(0, out) == 0
    assert list(out) == [1.0, 2.0, 3.0, 1.0]
    with pytest.raises(TypeError):
        ring.write(np.zeros(1))
    samples.append(4.0)  # BufferError while anybody holds the buffer
    out.append(0.0)


def test_every_way_of_calling_the_ring_is_the_same():
    class Derived(Ring):
        pass

    for ring in (Ring(8), Derived(8)):
        ring.write(samples=counted(0, 4))
        ring.write(counted(4, 6).view(np.memmap))
        ring.write(counted(6, 8))
        outs = [np.empty(8, np.float32) for _ in range(4)]
        assert ring.read(0, outs[0]) == ring.read(start=0, out=outs[1]) == ring.read(np.int64(0), outs[2]) == ring.read(False, outs[3]) == 0
        assert all(out.tolist() == counted(0, 8).tolist() for out in outs)
        assert ring.head == 8


def test_calls_that_are_none_say_so():
    ring, block = Ring(8), np.zeros(2, np.float32)
    for wrong in (ring.write, lambda: ring.write(block, block), lambda: ring.read(block), lambda: ring.write(*[block] * 9)):
        with pytest.raises(TypeError, match="argument"):
            wrong()
    for beyond in (2**63, -(2**63) - 1):
        with pytest.raises(TypeError, match="argument"):
            ring.read(beyond, block)
    with pytest.raises(TypeError):
        Ring.write(block, block)
    bare = Ring.__new__(Ring)
    for use in (lambda: bare.head, lambda: bare.write(block), lambda: bare.read(0, block)):
        with pytest.raises(TypeError, match="__init__"):
            use()


def test_the_ring_needs_no_numpy():
    """The quick way asks numpy's structures; where there is no numpy, nothing is one of its arrays."""
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "import array, importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('edge._native', {_native.__file__!r})\n"
        "native = importlib.util.module_from_spec(spec); spec.loader.exec_module(native)\n"
        "ring = native.Ring(4); ring.write(array.array('f', [1, 2])); out = array.array('f', [0, 0])\n"
        "assert (ring.read(0, out), list(out), ring.head) == (0, [1, 2], 2)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_samples_are_samples_too():
    nothing = np.zeros(0, np.float32)
    ring = Ring(4)
    ring.write(nothing)
    assert (ring.head, ring.read(0, nothing)) == (0, 0)
    assert level_dbfs(nothing) == -120.0
    assert clean(nothing) == 0
    assert log_mel(nothing).shape == (0, 80)
    assert LogMel(64).extend(nothing).shape == (0, 64)


# Ring ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 3, 160, 1000, 1024])
def test_every_sample_comes_back_at_its_index(block):
    ring = Ring(1000)
    assert ring.capacity == 1024
    for start in range(0, 5 * block, block):
        ring.write(counted(start, start + block))
        oldest = max(0, start + block - 1024)
        assert (ring.head, ring.oldest) == (start + block, oldest)
        out = np.empty(ring.head - oldest, np.float32)
        assert ring.read(oldest, out) == 0
        np.testing.assert_array_equal(out, counted(oldest, ring.head))


def test_a_lapped_reader_is_told_how_many_leading_samples_it_lost():
    ring = Ring(8)
    for start in range(0, 20, 4):
        ring.write(counted(start, start + 4))
    out = np.full(10, -1, np.float32)
    assert ring.read(8, out) == 4
    np.testing.assert_array_equal(out, np.r_[np.zeros(4, np.float32), counted(12, 18)])
    assert ring.read(0, out) == 10
    assert not out.any()


def test_what_is_not_written_cannot_be_read():
    ring = Ring(8)
    ring.write(counted(0, 5))
    for start, n in [(0, 6), (5, 1), (6, 0), (-1, 1), (-1, 0), (2**62, 1)]:
        out = np.full(n, -1, np.float32)
        with pytest.raises(ValueError, match=f"cannot read {n} samples from {start}"):
            ring.read(start, out)
        assert (out == -1).all()
    with pytest.raises(TypeError):
        ring.read(2**63, np.zeros(1, np.float32))


def test_positions_go_beyond_every_int32_and_skipped_samples_are_zeros():
    ring = Ring(16)
    for far in [2**31, 2**32, 2**53, 2**62]:
        ring.skip(far - 4 - ring.head)
        ring.write(counted(far - 4, far + 4))
        assert (ring.head, ring.oldest) == (far + 4, far - 12)
        out = np.full(16, -1, np.float32)
        assert ring.read(far - 12, out) == 0
        np.testing.assert_array_equal(out, np.r_[np.zeros(8, np.float32), counted(far - 4, far + 4)])
    with pytest.raises(ValueError, match="2\\*\\*63"):
        ring.skip(2**62)
    ring.skip(2**63 - 1 - ring.head)
    with pytest.raises(ValueError, match="2\\*\\*63"):
        ring.write(np.zeros(1, np.float32))


def test_impossible_sizes_are_refused():
    for capacity in [0, -1, 2**30 + 1, 2**62]:
        with pytest.raises(ValueError, match="capacity"):
            Ring(capacity)
    with pytest.raises(ValueError, match="cannot write 9 samples into a ring of 8"):
        Ring(8).write(np.zeros(9, np.float32))
    with pytest.raises(ValueError, match="cannot skip -1"):
        Ring(8).skip(-1)


# PortAudio tap -------------------------------------------------------------------------------------------------------

CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p
)


def test_the_tap_is_a_portaudio_callback():
    ring = Ring(1024)
    tap = ring.portaudio(2)
    callback = CALLBACK(tap.callback_address)
    assert (tap.channels, tap.frames, tap.callbacks, tap.overflows, tap.last_callback_s) == (2, 0, 0, 0, 0.0)
    frames = counted(0, 200)
    before_s = time.monotonic()
    assert callback(frames.ctypes.data, None, 100, None, 0, tap.user_data_address) == 0
    assert callback(None, None, 50, None, 0x2, tap.user_data_address) == 0
    assert before_s - 1e-6 <= tap.last_callback_s <= time.monotonic()
    assert (tap.frames, tap.callbacks, tap.overflows, ring.head) == (150, 2, 1, 300)
    out = np.empty(300, np.float32)
    assert ring.read(0, out) == 0
    np.testing.assert_array_equal(out, np.r_[frames, np.zeros(100, np.float32)])


def test_the_tap_keeps_its_ring():
    tap = Ring(64).portaudio(1)
    samples = counted(0, 10)
    CALLBACK(tap.callback_address)(samples.ctypes.data, None, 10, None, 0, tap.user_data_address)
    out = np.empty(10, np.float32)
    assert tap.ring.read(0, out) == 0
    np.testing.assert_array_equal(out, samples)


def test_impossible_channels_are_refused():
    for channels in [0, -1, 65]:
        with pytest.raises(ValueError, match="channels"):
            Ring(64).portaudio(channels)


# Level ---------------------------------------------------------------------------------------------------------------


def test_level_is_the_rms_in_dbfs():
    assert level_dbfs(np.ones(100, np.float32)) == pytest.approx(0, abs=1e-9)
    assert level_dbfs(np.full(100, 0.1, np.float32)) == pytest.approx(-20, abs=1e-5)
    assert level_dbfs(np.zeros(100, np.float32)) == -120.0
    for n in [1, 7, 8, 9, 511, 16001]:
        samples = noise(n)
        rms = math.sqrt(np.mean(samples.astype(np.float64) ** 2))
        assert level_dbfs(samples) == pytest.approx(20 * math.log10(rms), abs=1e-9)


def test_what_is_not_finite_counts_as_zero():
    samples = noise(100)
    samples[[3, 50, 99]] = [NAN, INF, -INF]
    assert level_dbfs(samples) == level_dbfs(np.nan_to_num(samples, nan=0, posinf=0, neginf=0))
    assert level_dbfs(np.array([NAN, INF], np.float32)) == -120.0


def test_clean_leaves_finite_samples_in_range_and_counts():
    samples = np.array([0.5, NAN, 1.0, -1.0, 1.5, -INF, INF, -2.0, 0.0], np.float32)
    assert clean(samples) == 5
    np.testing.assert_array_equal(samples, np.array([0.5, 0, 1, -1, 1, 0, 0, -1, 0], np.float32))
    assert clean(samples) == 0


# Log-mel -------------------------------------------------------------------------------------------------------------


def signals() -> dict[str, np.ndarray]:
    t = np.arange(8000) / 16000
    impulse = np.zeros(8000)
    impulse[3000] = 1
    return {
        name: np.asarray(samples, np.float32)
        for name, samples in {
            "noise": noise(8000),
            "whisper": noise(8000, 1e-5),
            "tone": np.sin(2 * np.pi * 1000.3 * t),  # the hard one: its far bands lie 200 dB below it
            "chirp": np.sin(2 * np.pi * (100 + 7800 * t) * t),
            "impulse": impulse,
            "silence": np.zeros(8000),
            "direct current": np.ones(8000),
        }.items()
    }


@pytest.mark.parametrize("samples", signals().values(), ids=signals())
@pytest.mark.parametrize("edges", [(80, 0.0, 8000.0), (64, 60.0, 7800.0), (128, 0.0, 8000.0), (1, 0.0, 8000.0), (16, 300.0, 500.0)])
def test_log_mel_is_within_1e_4_of_a_float64_reference(samples, edges):
    rows = log_mel(samples, *edges)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, reference_log_mel(samples, *edges), rtol=0, atol=1e-4)


@pytest.mark.parametrize("n", [0, 1, 399, 400, 559, 560, 719, 720, 16000, 16123])
def test_rows_are_those_of_the_contract_and_samples_are_not_modified(n):
    samples = noise(n)
    before = samples.copy()
    assert log_mel(samples).shape == (max(0, 1 + (n - 400) // 160), 80)
    np.testing.assert_array_equal(samples, before)


@pytest.mark.parametrize("block", [1, 17, 159, 160, 161, 399, 400, 401, 512, 4096, 8000, 20000])
def test_block_size_does_not_change_the_rows(block):
    samples = noise(20000)
    stream = LogMel()
    rows = [stream.extend(samples[at : at + block]) for at in range(0, len(samples), block)]
    assert np.concatenate(rows).tobytes() == log_mel(samples).tobytes()
    stream.reset()
    assert stream.extend(samples).tobytes() == log_mel(samples).tobytes()


def test_rows_are_finite_whatever_comes():
    samples = noise(4000)
    samples[[100, 1500, 3000]] = [NAN, INF, np.finfo(np.float32).max]
    rows = log_mel(samples)
    assert np.isfinite(rows).all()
    np.testing.assert_array_equal(rows[10:17], log_mel(samples[1600:3000]))  # [1600, 3000) holds none of them


def test_impossible_bands_are_refused():
    for edges in [(0, 0, 8000), (129, 0, 8000), (80, -1, 8000), (80, 0, 8001), (80, 500, 500), (80, NAN, 8000)]:
        with pytest.raises(ValueError, match="band"):
            LogMel(*edges)


def test_a_second_thread_in_one_log_mel_is_refused_not_mixed_up():
    stream, samples = LogMel(), noise(1_600_000)
    alone = log_mel(samples)
    rows, refused = [], []

    def extend() -> None:
        try:
            rows.append(stream.extend(samples))
        except RuntimeError as error:
            refused.append(str(error))

    for _ in range(50):
        threads = [threading.Thread(target=extend) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if refused:
            break
        rows.clear()
        stream.reset()
    assert refused
    assert "another thread" in refused[0]
    assert rows[0].tobytes() == alone.tobytes()


def test_the_interpreter_may_end_while_a_daemon_thread_is_at_work_without_its_lock():
    """Python 3.10 to 3.13 unwind such a thread when it asks for the lock again; that must not abort the process."""
    code = """
import threading, time
import numpy as np
from edge._native import LogMel

def work():
    log_mel, sound = LogMel(), np.zeros(400_000, np.float32)
    while True:
        log_mel.extend(sound)

for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.3)
"""
    for _ in range(5):
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert (run.returncode, run.stderr) == (0, "")
