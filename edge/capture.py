"""Where sound comes in: `Microphone` and `AudioFile`, two sources behind one protocol, and the list of `devices`."""

from __future__ import annotations

from edge.audio_file import AudioFile

__all__ = ["AudioFile"]
