"""What several rooms' tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What builds leave for their second half goes where the tests' other files go."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights say the same again and again: where texts are compared token for token with a reference, loops stay."""
    monkeypatch.setattr("edge.seq2seq.cut_loops", list)
    monkeypatch.setattr("edge.seq2seq.loop_at", lambda tokens: None)
    monkeypatch.setattr("edge.transcriber.wordy_at", lambda tokens, text: None)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings that are not part of the repository; whoever asks for them is skipped where they are absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data (real recordings, not part of the repository) is not here")
    return folder
