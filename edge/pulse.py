"""Which source a PulseAudio stream really records from: the server moves it silently when a microphone is unplugged."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass

_SPECIFICATION = re.compile(r"(\d+)ch (\d+)Hz")
_ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class PulseSource:
    """A source of the server: its lasting name, and the rate and channels that it really runs at."""

    index: int
    name: str
    rate: int
    channels: int


def recordings() -> dict[int, int] | None:
    """Source index by source-output index of this process; None without pactl or without a server that answers.

    Works for PipeWire's PulseAudio server too. A call takes about 10 ms.
    """
    text = _pactl("-f", "json", "list", "source-outputs")
    if text is None:
        return None
    process = str(os.getpid())
    try:
        return {
            int(output["index"]): int(output["source"])
            for output in json.loads(text)
            if output.get("properties", {}).get("application.process.id") == process
        }
    except (ValueError, KeyError, TypeError):
        return None


def source(index: int) -> PulseSource | None:
    """The source of that index; None when it is gone."""
    for line in (_pactl("list", "short", "sources") or "").splitlines():
        fields = line.split("\t")
        specification = _SPECIFICATION.search(line)
        if len(fields) >= 4 and fields[0] == str(index) and specification:
            return PulseSource(index, fields[1], int(specification[2]), int(specification[1]))
    return None


class SourceWatch:
    """Watches from a thread of its own, through `pactl subscribe`, that a recording stays at its source.

    doubt: True at the beginning, and from the moment at which the server tells of a change, until it is known that all is well; frames that
    came meanwhile, and a little before, must not be used. moved_to: name of another source once it has moved, else "".
    gone: True once the server has ended the recording.
    """

    def __init__(self, output: int, source_index: int) -> None:
        self.doubt = True
        self.doubt_since_s = time.monotonic()
        self.moved_to = ""
        self.gone = False
        self._output = output
        self._source_index = source_index
        self._closed = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="auricle-source-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and its process; may be called twice."""
        self._closed.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join(_ANSWER_S)

    def _run(self) -> None:
        ours = f"source-output #{self._output}"
        while not self._closed.is_set() and not self.moved_to and not self.gone:
            try:
                self._process = subprocess.Popen(
                    ["pactl", "subscribe"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=_environment()
                )
            except OSError:
                return
            with self._process as process:
                assert process.stdout is not None
                if self._closed.is_set():
                    process.terminate()  # close() may have come before there was a process
                self._closed.wait(0.25)  # pactl does not say when it has subscribed
                self._check()  # whatever happened before
                for line in process.stdout:
                    if self._closed.is_set():
                        process.terminate()
                    elif line.rstrip().endswith(ours):
                        self.doubt_since_s = time.monotonic()
                        self.doubt = True
                        self._check()
                    if self.moved_to or self.gone:
                        process.terminate()
            self._closed.wait(0.5)  # the server went away; the stream's own checks tell that sooner

    def _check(self) -> None:
        found = recordings()
        if found is None:
            return  # no answer: stay as we are, in doubt or not
        now_at = found.get(self._output)
        if now_at == self._source_index:
            self.doubt = False
            return
        if now_at is None:
            self.gone = True
            return
        other = source(now_at)
        self.moved_to = other.name if other else f"source {now_at}"


def settled_recording(before: dict[int, int], patience_s: float = 1.0, least_questions: int = 5) -> tuple[int, int] | None:
    """(source output, source) of the one recording that was not there before; None when none appears in time."""
    give_up_s = time.monotonic() + patience_s
    asked = 0
    while time.monotonic() < give_up_s or asked < least_questions:  # a busy machine answers slowly: not knowing means not watching
        asked += 1
        now = recordings()
        if now is None:
            return None
        fresh = [output for output in now if output not in before]
        if fresh:
            return max(fresh), now[max(fresh)]
        time.sleep(0.02)
    return None


def _pactl(*arguments: str) -> str | None:
    if shutil.which("pactl") is None:
        return None
    try:
        answer = subprocess.run(["pactl", *arguments], capture_output=True, text=True, timeout=_ANSWER_S, env=_environment())
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}
