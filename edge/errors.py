"""Everything that can go wrong with the world, in one tree. Wrong use is ValueError or TypeError instead.

EdgeError
├── AudioError            sound could not be had
│   ├── DeviceError       a capture device is missing, busy, refused or gone
│   └── AudioFileError    a file is missing, empty, not audio, or breaks off
├── BundleError           a bundle is missing, damaged, unsafe or newer than this program
├── BackendError          a model runtime is absent, too old, or failed to load or run a model
├── NoAnswerError         a language model said nothing when it was asked
├── ConfigError           an unknown or impossible setting
└── OutputError           a record could not be written

Every message names the thing, the cause and the remedy in one sentence.
"""

from __future__ import annotations


class EdgeError(Exception):
    """The world failed; str() is one sentence for a person."""


class AudioError(EdgeError):
    """Sound could not be had."""


class DeviceError(AudioError):
    """A capture device is missing, busy, refused or gone."""


class AudioFileError(AudioError):
    """A file is missing, empty, not audio, or breaks off."""


class BundleError(EdgeError):
    """A bundle is missing, damaged, unsafe or newer than this program."""


class BackendError(EdgeError):
    """A model runtime is absent, too old, or failed to load or run a model."""


class NoAnswerError(EdgeError):
    """A language model said nothing when it was asked."""


class ConfigError(EdgeError):
    """An unknown or impossible setting."""


class OutputError(EdgeError):
    """A record could not be written."""
