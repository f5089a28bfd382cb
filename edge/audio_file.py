"""A sound file as a source, as fast as it can be read or at the speed of real time."""

from __future__ import annotations

import re
import shlex
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from edge._native import Ring
from edge.door import Door
from edge.errors import AudioFileError
from edge.types import SAMPLE_RATE, Device, Gap, Samples

_CHUNK_S = 0.25
_UNKNOWN_LENGTH = 0x7FFF0000  # streaming writers (ffmpeg, sox, arecord) put a size near 2 or 4 GiB for "until it ends"
_SIZE_CORRECTED = re.compile(r"(data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)")


class AudioFile:
    """A `Source` over every format, rate and channel count that libsndfile reads.

    A file of n frames at rate r gives exactly n * 16000 / r samples, rounded to the nearest, halves up; they do not depend on
    how they are pulled. Values outside [-1, 1] are clipped and counted in `cleaned`.
    realtime: fill() gives no sample before its time on the monotonic clock. ring_seconds: audio that stays readable.
    Raises: AudioFileError when the file is missing, empty, no audio, 0 seconds long, cut short, or holds values
    that are not numbers: a file that is not what its own header (or, for Ogg, its last page) promises is refused as a whole, before
    anything is captioned.
    """

    def __init__(self, path: str | Path, realtime: bool = False, ring_seconds: float = 90.0) -> None:
        self.path = Path(path)
        self._file = _open(self.path)
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self._frames: int = self._file.frames
        self._door = Door(self.rate, self.channels)
        self.name = f"file:{self.path.name}"
        self.live = realtime
        self.ring = Ring(max(int(ring_seconds * SAMPLE_RATE), SAMPLE_RATE))
        self._pending: Samples = np.empty(0, np.float32)  # decoded, not yet due
        self._decoded = False
        self._closed = False
        self._reading = threading.Lock()  # libsndfile must not be closed under a read
        self._anchor_ns = time.time_ns()
        self._opened_s = time.monotonic()

    @property
    def anchor_ns(self) -> int:
        """Unix time in nanoseconds of sample 0: when the file was opened."""
        return self._anchor_ns

    @property
    def duration(self) -> int:
        """Samples at 16 kHz that the whole file gives."""
        return self._door.position(self._frames)

    @property
    def cleaned(self) -> int:
        """Clipped values met so far."""
        return self._door.cleaned

    @property
    def ended(self) -> bool:
        return self._closed or (self._decoded and not len(self._pending))

    def fill(self, until: int) -> int:
        """Decodes until ring.head >= until or the end; in real time sleeps until that sample is due.

        Raises: AudioFileError when the decoder fails in the middle (a damaged frame).
        """
        while self.ring.head < until and not self.ended:
            if not len(self._pending):
                self._decode()
            count = min(len(self._pending), self.ring.capacity)
            if self.live:
                count = min(count, until - self.ring.head)
                wait_s = self._opened_s + (self.ring.head + count) / SAMPLE_RATE - time.monotonic()
                if wait_s > 0:
                    time.sleep(min(wait_s, 0.1))
                    continue
            self.ring.write(self._pending[:count])
            self._pending = self._pending[count:]
        return self.ring.head

    def events(self) -> list[Gap | Device]:
        """Nothing happens to a file."""
        return []

    def close(self) -> None:
        """Ends the stream; may be called twice, and from another thread than fill()."""
        self._closed = True
        with self._reading:
            self._file.close()

    def _decode(self) -> None:
        frames = max(int(self.rate * _CHUNK_S), 1)
        try:
            with self._reading:
                if self._closed:
                    return
                chunk = self._file.read(frames, dtype="float32", always_2d=True)
        except (RuntimeError, OSError) as error:
            raise AudioFileError(
                f"{self.path} breaks off after {self._door.frames / self.rate:.2f} s: {_cause(error)}; copy or export it again"
            ) from error
        if len(chunk):
            self._pending = self._door.feed(chunk)
        else:
            self._pending = self._door.flush()
            self._decoded = True


def _open(path: Path) -> Any:
    """The open soundfile.SoundFile of a whole, non-empty sound file."""
    if not path.exists():
        raise AudioFileError(f"{path} does not exist; check the name")
    if not path.is_file():
        raise AudioFileError(f"{path} is not a file; give a sound file such as WAV, FLAC, OGG or MP3")
    try:
        if path.stat().st_size == 0:
            raise AudioFileError(f"{path} is empty (0 bytes); copy or record it again")
        import soundfile

        file = soundfile.SoundFile(path)
    except PermissionError as error:
        raise AudioFileError(f"{path} may not be read by this user; change its permissions") from error
    except (RuntimeError, OSError, TypeError) as error:
        raise AudioFileError(f"{path} is not sound that can be read ({_cause(error)}); {_conversion(path)}") from error
    missing = "0 seconds of sound are in it" if file.frames <= 0 else _cut_short(path, file) or _not_numbers(file)
    if missing:
        file.close()
        raise AudioFileError(f"{path} cannot be used: {missing}; copy or record it again")
    return file


def _cut_short(path: Path, file: Any) -> str:
    """One clause when the file holds less than it promises, else ""."""
    for name, promised, found in _SIZE_CORRECTED.findall(file.extra_info):
        whole_file = name in ("riff", "Riff size")  # the outer size counts only where libsndfile names no inner one
        if int(found) < int(promised) < _UNKNOWN_LENGTH and (not whole_file or file.format in ("W64", "RF64")):
            return f"it is cut short, its header promises {promised} bytes and {found} are there"
    if file.format == "OGG" and not _last_ogg_page_ends(path):
        return "it is cut short, its last Ogg page does not end the stream"
    if file.format in ("FLAC", "MP3", "MPEG"):  # their headers are believed until one tries to read the last frame
        import soundfile

        with soundfile.SoundFile(path) as probe:
            try:
                probe.seek(file.frames - 1)
                reached = len(probe.read(1))
            except RuntimeError:
                reached = 0
        if not reached:
            return f"it is cut short or damaged, its header promises {file.frames / file.samplerate:.2f} s that are not there"
    return ""


def _not_numbers(file: Any) -> str:
    """One clause when a value is NaN or infinite, else "". Only floating-point files can hold such; only they are read for it."""
    if file.subtype not in ("FLOAT", "DOUBLE"):
        return ""
    wrong, first, frames = 0, 0, 0
    while len(chunk := file.read(file.samplerate, dtype="float32", always_2d=True)):
        frame, _ = np.nonzero(~np.isfinite(chunk))
        if len(frame) and not wrong:
            first = frames + int(frame[0])
        wrong += len(frame)
        frames += len(chunk)
    file.seek(0)
    return f"{wrong} of its values are not numbers (NaN or infinite), the first at {first / file.samplerate:.3f} s" if wrong else ""


def _conversion(path: Path) -> str:
    """What to do with a file that libsndfile does not read."""
    if path.suffix.lower() in (".wav", ".flac", ".ogg", ".mp3"):
        return "copy or export it again"
    headerless = "-f s16le -ar 16000 -ac 1 " if path.suffix.lower() in (".raw", ".pcm") else ""
    told = "say how it was recorded, for example" if headerless else "convert it, for example with"
    return f"{told} `ffmpeg {headerless}-i {shlex.quote(str(path))} {shlex.quote(str(path.with_suffix('.wav')))}`"


def _last_ogg_page_ends(path: Path) -> bool:
    # RFC 3533, section 6: "OggS", version, header type (4 = end of stream), 20 bytes, number of segments, their lengths; <= 65,307 bytes.
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 65_307))
        tail = stream.read()
    page = tail[tail.rfind(b"OggS") :] if b"OggS" in tail else b""
    if len(page) < 27 or not page[5] & 4:
        return False
    segments = page[27 : 27 + page[26]]
    return len(segments) == page[26] and len(page) >= 27 + len(segments) + sum(segments)


def _cause(error: Exception) -> str:
    """The library's own words without the file name, on one line."""
    words = " ".join(str(getattr(error, "error_string", "") or error).split())
    return words.rstrip(".") or "damaged or of an unknown format"
