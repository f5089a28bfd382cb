"""The build backend: scikit-build-core, with Silero's model files fetched before anything is packed (hooks of PEP 517)."""

from __future__ import annotations

from typing import Any

import silero_files
from scikit_build_core import build as _backend
from scikit_build_core.build import *  # noqa: F403  (the hooks that stay as they are)

_PIP = [] if silero_files.present() else ["pip>=23"]  # needed only to fetch; an isolated build environment has none


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """Requirements of scikit-build-core, and pip when there is something to fetch."""
    return [*_backend.get_requires_for_build_wheel(config_settings), *_PIP]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    """As for a wheel."""
    return [*_backend.get_requires_for_build_editable(config_settings), *_PIP]


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """Builds the wheel, which carries Silero's files with their licence."""
    silero_files.fetch()
    return _backend.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """Builds the editable wheel; the files lie in the source tree then."""
    silero_files.fetch()
    return _backend.build_editable(wheel_directory, config_settings, metadata_directory)
