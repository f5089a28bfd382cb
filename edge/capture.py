"""Where sound comes in: `Microphone` and `AudioFile`, two sources behind one protocol, and the list of `devices`."""

from __future__ import annotations

from edge.audio_file import AudioFile
from edge.device_stream import Negotiated
from edge.devices import CaptureDevice, devices
from edge.microphone import Microphone

__all__ = ["AudioFile", "CaptureDevice", "Microphone", "Negotiated", "devices"]
