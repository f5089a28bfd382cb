"""Capture devices as PortAudio lists them, named so that the name survives another order of plugging in."""

from __future__ import annotations

import atexit
import contextlib
import difflib
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edge.errors import DeviceError

PORTAUDIO = threading.RLock()
"""Held while a stream is opened or closed and while the list is read: PortAudio allows one thread at a time for these."""

_CARD_NUMBER = re.compile(r"\s*\((?:plug)?hw:\d+(?:,\d+)*\)$")
_MOST_REAL_CHANNELS = 8  # virtual devices (ALSA's plug, pulse) promise 32 or 128 channels and have what they are asked for

_streams_open = 0


@dataclass(frozen=True, slots=True)
class CaptureDevice:
    """A microphone as the machine offers it. rate: its default, frames per second. index: PortAudio's, of this moment only."""

    name: str
    host_api: str
    rate: int
    channels: int
    is_default: bool
    index: int

    @property
    def stable_name(self) -> str:
        """The name without the card number, which changes with the order of plugging in."""
        return _CARD_NUMBER.sub("", self.name)

    @property
    def real_channels(self) -> int:
        """Channels worth opening when nothing more exact is known."""
        return self.channels if self.channels <= _MOST_REAL_CHANNELS else 1


def devices() -> list[CaptureDevice]:
    """Every capture device, fresh unless a stream of this process is open or JACK is there (then as at the first call).

    PortAudio renews its list only when it is terminated, which closes all streams and aborts the process when JACK has died.
    Raises: DeviceError when the PortAudio library is absent or does not start.
    """
    with PORTAUDIO:
        sounddevice = portaudio()
        try:
            with quiet_stderr():
                if _streams_open == 0 and not _jack_is_present(sounddevice):
                    with contextlib.suppress(sounddevice.PortAudioError):  # it did not start the last time
                        sounddevice._terminate()
                    sounddevice._initialize()
                apis = sounddevice.query_hostapis()
                listed = sounddevice.query_devices()
                default = sounddevice.default.device[0]
        except (sounddevice.PortAudioError, OSError) as error:
            raise _no_start(error) from error
    return [
        CaptureDevice(
            entry["name"],
            apis[entry["hostapi"]]["name"],
            round(entry["default_samplerate"]),
            entry["max_input_channels"],
            entry["index"] == default,
            entry["index"],
        )
        for entry in listed
        if entry["max_input_channels"] > 0
    ]


def alike(device: CaptureDevice, listed: Sequence[CaptureDevice]) -> list[CaptureDevice]:
    """All of one kind, whatever their numbers."""
    return [one for one in listed if (one.stable_name, one.host_api) == (device.stable_name, device.host_api)]


def find(name: str | None, listed: Sequence[CaptureDevice]) -> CaptureDevice:
    """The one device of that name; None is the default one.

    A name matches as it is listed, without its card number, or as a part that fits one device only; case does not matter, and
    ", ALSA" behind it chooses the host API. Raises: DeviceError, which lists the near ones, when none or several match.
    """
    if not listed:
        raise DeviceError("no microphone was found: plug one in, or start the sound server; `auricle devices` lists what is there")
    if name is None:
        return next((device for device in listed if device.is_default), listed[0])
    wanted = name.casefold()
    keys = [
        {text.casefold() for text in (device.name, device.stable_name) for text in (text, f"{text}, {device.host_api}")}
        for device in listed
    ]
    matches = [device for device, key in zip(listed, keys, strict=True) if wanted in key]
    if not matches:
        matches = [device for device, key in zip(listed, keys, strict=True) if any(wanted in text for text in key)]
    if len({device.host_api for device in matches}) == len(matches) > 1:
        matches = [device for device in matches if device.is_default] or matches[:1]  # one device, seen through several host APIs
    if len(matches) == 1:
        return matches[0]
    if matches:
        offered = ", ".join(f"{device.name!r}" for device in matches)
        raise DeviceError(f"{len(matches)} microphones are called {name!r}: give the whole name of one of {offered}")
    names = [device.name for device in listed]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.3) or names[:5]
    raise DeviceError(f"there is no microphone {name!r}: choose one of {', '.join(map(repr, near))}, or see `auricle devices`")


def _names(device: CaptureDevice) -> tuple[str, ...]:
    return device.name, device.stable_name, f"{device.name}, {device.host_api}", f"{device.stable_name}, {device.host_api}"


def portaudio() -> Any:
    """The sounddevice module, imported on first use. Raises: DeviceError when the PortAudio library is absent or does not start."""
    try:
        with quiet_stderr():
            if "sounddevice" not in sys.modules:
                import sounddevice

                atexit.unregister(sounddevice._exit_handler)
                atexit.register(_terminate, sounddevice)
            import sounddevice
    except OSError as error:
        raise DeviceError("microphones need the PortAudio library, which is absent: run `apt-get install libportaudio2`") from error
    except Exception as error:  # PortAudio's own error, whose class went with the module that could not be imported
        raise _no_start(error) from error
    return sounddevice


def _no_start(error: Exception) -> DeviceError:
    return DeviceError(f"PortAudio does not start ({error}): look at ALSA's configuration and at the sound server")


def _jack_is_present(sounddevice: Any) -> bool:
    try:
        return any("JACK" in api["name"] for api in sounddevice.query_hostapis())
    except sounddevice.PortAudioError:  # it did not start the last time
        return False


def _terminate(sounddevice: Any) -> None:
    """At exit, in place of sounddevice's own: pa_jack.c asserts that JACK still lives, and would abort with core dump if not."""
    if not _jack_is_present(sounddevice):
        with contextlib.suppress(sounddevice.PortAudioError):
            sounddevice._terminate()


@contextlib.contextmanager
def stream_counted() -> Iterator[None]:
    """Marks a stream as open, so that the list is not renewed under it."""
    global _streams_open
    with PORTAUDIO:
        _streams_open += 1
    try:
        yield
    finally:
        with PORTAUDIO:
            _streams_open -= 1


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """ALSA and JACK print a page of complaints about absent hardware straight to file descriptor 2; the errors come as codes too."""
    try:
        kept = os.dup(2)
    except OSError:  # no stderr at all
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
