"""The program as a person or another program runs it: exit codes, one sentence for each failure, nothing half written."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny_bundle

from edge import cli
from edge.commands.caption import names
from edge.errors import OutputError

AURICLE = [sys.executable, "-m", "edge.cli"]
ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 60


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle, three sound files and everything that is not quite a sound file."""
    root = tmp_path_factory.mktemp("place")
    tiny_bundle.make(root / "tiny")
    chance = np.random.default_rng(7)
    sound = np.zeros(16_000 * 4, np.float32)
    sound[16_000:40_000] = chance.normal(0, 0.1, 24_000)
    soundfile.write(root / "good.wav", sound, 16_000)
    soundfile.write(root / "other.flac", np.stack([sound, sound], 1), 16_000)
    soundfile.write(root / "eight.wav", np.repeat(sound[:, None], 8, 1), 16_000)
    soundfile.write(root / "nan.wav", np.where(np.arange(len(sound)) % 3, sound, np.nan).astype(np.float32), 16_000, "FLOAT")
    (root / "sub").mkdir()
    soundfile.write(root / "sub" / "good.wav", sound[:20_000], 16_000)
    (root / "empty.wav").write_bytes(b"")
    (root / "text.wav").write_text("this is no sound\n" * 50)
    (root / "cut.wav").write_bytes((root / "good.wav").read_bytes()[:5000])
    soundfile.write(root / "nothing.wav", np.zeros(0, np.float32), 16_000)
    return root


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AURICLE_")}
    return {**kept, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", "AURICLE_BUNDLE": "tiny", **more}


def auricle(place: Path, *arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*AURICLE, *map(str, arguments)],
        cwd=place,
        env=environment(**more),
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT_S,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


def refusal(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one sentence on stderr of a command that failed."""
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("auricle")
    return done.stderr


# Usage


@pytest.mark.parametrize("verb", ["listen", "caption", "devices", "inspect"])
def test_every_verb_explains_itself_with_an_example(place: Path, verb: str) -> None:
    done = auricle(place, verb, "--help")
    assert done.returncode == 0
    assert f"example:\n  auricle {verb}" in done.stdout


def test_help_needs_no_numpy_and_no_model_runtime(place: Path) -> None:
    program = "import sys; from edge.cli import parser; parser().format_help(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=True)
    assert not {"numpy", "onnxruntime", "soundfile", "sounddevice", "llama_cpp", "edge.types"} & set(done.stdout.split())


def test_the_version_is_that_of_the_package(place: Path) -> None:
    assert auricle(place, "--version").stdout == f"auricle {cli.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "VERB"),
        (["hear"], "invalid choice: 'hear'"),
        (["caption"], "required: FILE"),
        (["inspect"], "required: BUNDLE"),
        (["listen", "--inp", "good.wav"], "unrecognized arguments: --inp"),
        (["listen", "--input", "good.wav", "--device", "x"], "not allowed with"),
        (["caption", "good.wav", "--format", "xml"], "invalid choice: 'xml'"),
        (["caption", "good.wav", "--threshold", "3"], "threshold is '3', but must be a number from 0.01 to 1"),
        (["caption", "good.wav", "--threads", "none"], "threads is 'none'"),
        (["caption", "good.wav", "--hop-s", "9", "--max-turn-s", "2"], "do not go together"),
        (["caption", "good.wav", "--config", "missing.toml"], "missing.toml: No such file"),
        (["caption", "good.wav", "--bundle", ""], "bundle is ''"),
    ],
)
def test_wrong_usage_is_one_sentence_and_code_2(place: Path, arguments: list[str], words: str) -> None:
    done = auricle(place, *arguments)
    assert words in refusal(done, 2)
    assert done.stdout == ""


def test_an_unknown_key_in_file_or_variable_names_the_nearest(place: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[gate]\ntreshold = 0.3")
    assert "nearest known one is gate.threshold" in refusal(auricle(place, "caption", "good.wav", "--config", tmp_path / "c.toml"), 2)
    assert "AURICLE_GATE_THRESHOLD" in refusal(auricle(place, "caption", "good.wav", AURICLE_TRESHOLD="0.3"), 2)


# The world


@pytest.mark.parametrize("file", ["missing.wav", "empty.wav", "text.wav", "cut.wav", "nothing.wav", "sub"])
@pytest.mark.parametrize("verb", ["listen", "caption"])
def test_what_is_not_sound_is_refused_by_name_and_nothing_is_written(place: Path, tmp_path: Path, verb: str, file: str) -> None:
    where = tmp_path / "out"
    source = ["--input", file] if verb == "listen" else [file]
    for output in ([], ["--output", where]):
        done = auricle(place, verb, *source, "--format", "jsonl", *output)
        assert file in refusal(done, 1)
        assert done.stdout == ""
        assert list(tmp_path.iterdir()) == []


def test_odd_but_sound_files_are_heard(place: Path) -> None:
    done = auricle(place, "caption", "eight.wav", "nan.wav", "--format", "jsonl")
    assert done.returncode == 0
    assert [record["source"] for record in map(json.loads, done.stdout.splitlines()) if record["type"] == "session"] == [
        "file:eight.wav",
        "file:nan.wav",
    ]


def flip_a_bit(bundle: Path) -> None:
    data = bytearray((bundle / "encoder.onnx").read_bytes())
    data[100] ^= 4
    (bundle / "encoder.onnx").write_bytes(data)


def escape(bundle: Path) -> None:
    text = (bundle / "manifest.json").read_text()
    (bundle / "manifest.json").write_text(text.replace('"encoder.onnx"', '"../encoder.onnx"'))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (flip_a_bit, "encoder.onnx is damaged"),
        (lambda bundle: (bundle / "encoder.onnx").unlink(), "encoder.onnx is missing"),
        (lambda bundle: (bundle / "extra").write_text("x"), "'extra' is not listed"),
        (escape, "'../encoder.onnx' leaves the bundle's folder"),
    ],
)
@pytest.mark.parametrize("verb", ["listen", "caption", "inspect"])
def test_a_faulty_bundle_is_refused_by_every_verb(
    place: Path, tmp_path: Path, verb: str, fault: Callable[[Path], None], words: str
) -> None:
    bad = tiny_bundle.make(tmp_path / "bad")
    fault(bad)
    arguments = {"inspect": [bad], "caption": ["good.wav", "--bundle", bad], "listen": ["--input", "good.wav", "--bundle", bad]}[verb]
    done = auricle(place, verb, *arguments)
    assert words in refusal(done, 1)
    assert done.stdout == ""


def test_an_unknown_device_is_named_and_so_is_the_way_out(place: Path) -> None:
    said = refusal(auricle(place, "listen", "--device", "no such microphone", "--format", "jsonl"), 1)
    assert "microphone" in said
    assert "auricle devices" in said or "apt-get" in said


def test_output_that_cannot_be_written_is_one_sentence(place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "is a file" in refusal(auricle(place, "caption", "good.wav", "--output", tmp_path / "file"), 1)
    said = refusal(auricle(place, "listen", "--input", "good.wav", "--format", "jsonl", "--output", tmp_path / "no" / "x.jsonl"), 1)
    assert "x.jsonl cannot be written (No such file or directory)" in said
    with open("/dev/full", "w") as full:
        for form in ("jsonl", "vtt"):
            done = subprocess.run(
                [*AURICLE, "caption", "good.wav", "--format", form],
                cwd=place,
                env=environment(),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
            assert (done.returncode, done.stderr.count("\n")) == (1, 1)
            assert "standard output cannot be written (No space left on device)" in done.stderr


def test_a_reader_that_leaves_is_no_failure(place: Path) -> None:
    with subprocess.Popen(
        [*AURICLE, "caption", *["good.wav"] * 20, "--format", "jsonl"],
        cwd=place,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["type"] == "session"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(LIMIT_S) == 0


def test_a_defect_is_still_a_sentence_and_shows_itself_on_demand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(name: str) -> None:
        raise ZeroDivisionError("of ours\nwith a line break")

    monkeypatch.delenv("AURICLE_DEBUG", raising=False)
    monkeypatch.setattr(cli, "import_module", broken)
    assert cli.main(["devices"]) == 1
    assert re.fullmatch(
        r"auricle: this is a defect in auricle \(ZeroDivisionError: of ours with a line break\).*AURICLE_DEBUG=1.*\n",
        capsys.readouterr().err,
    )
    monkeypatch.setenv("AURICLE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        cli.main(["devices"])


def test_too_little_memory_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def greedy(name: str) -> None:
        raise MemoryError

    monkeypatch.setattr(cli, "import_module", greedy)
    assert cli.main(["devices"]) == 1
    assert "not enough memory" in capsys.readouterr().err


# caption


def records(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_files_follow_each_other_each_opened_by_its_session(place: Path) -> None:
    done = auricle(place, "caption", "good.wav", "other.flac", "--format", "jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    got = records(done.stdout)
    starts = [at for at, record in enumerate(got) if record["type"] == "session"]
    assert [got[at]["source"] for at in starts] == ["file:good.wav", "file:other.flac"]
    assert [got[at]["bundle"] for at in starts] == ["tiny", "tiny"]
    assert starts[0] == 0
    assert any(record.get("label") == "Loud sound" for record in got[: starts[1]])
    assert got[1 : starts[1]] == got[starts[1] + 1 :]  # the same sound, once mono and once twice


def test_a_bad_file_is_reported_and_the_others_are_done(place: Path, tmp_path: Path) -> None:
    good = auricle(place, "caption", "good.wav", "--format", "jsonl")
    mixed = auricle(place, "caption", "missing.wav", "good.wav", "text.wav", "--format", "jsonl")
    assert mixed.returncode == 1
    assert [name in line for name, line in zip(("missing.wav", "text.wav"), mixed.stderr.splitlines(), strict=True)] == [True, True]
    assert records(mixed.stdout)[1:] == records(good.stdout)[1:]
    folder = tmp_path / "deep" / "out"
    assert auricle(place, "caption", "missing.wav", "good.wav", "--format", "jsonl", "--output", folder).returncode == 1
    assert [path.name for path in folder.iterdir()] == ["good.jsonl"]
    assert records((folder / "good.jsonl").read_text())[1:] == records(good.stdout)[1:]


def test_each_format_has_its_extension_and_inputs_of_one_name_their_own_files(place: Path, tmp_path: Path) -> None:
    for form, extension in [("jsonl", "jsonl"), ("text", "txt"), ("live", "txt"), ("srt", "srt"), ("vtt", "vtt")]:
        folder = tmp_path / form
        done = auricle(place, "caption", "good.wav", "sub/good.wav", "other.flac", "--format", form, "--output", folder)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert sorted(path.name for path in folder.iterdir()) == sorted([f"good.{extension}", f"good-2.{extension}", f"other.{extension}"])
    first, second = (records((tmp_path / "jsonl" / name).read_text()) for name in ("good.jsonl", "good-2.jsonl"))
    assert len(first) > len(second)
    assert (tmp_path / "srt" / "good.srt").read_text() == ""
    assert (tmp_path / "vtt" / "good.vtt").read_text() == "WEBVTT\n\n"


def test_an_output_never_takes_the_place_of_an_input_or_of_another_output(tmp_path: Path) -> None:
    files = ["a/x.wav", "b/x.wav", "x-2.wav", "X.flac", "y"]
    assert [path.name for path in names(files, tmp_path, "srt")] == ["x.srt", "x-2.srt", "x-2-2.srt", "X-3.srt", "y.srt"]
    with pytest.raises(OutputError, match="would replace an input"):
        names([str(tmp_path / "song.txt")], tmp_path, "txt")


def test_an_interrupted_caption_leaves_nothing_half_written(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    long = np.random.default_rng(1).normal(0, 0.1, 16_000 * 600).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", long, 16_000)
    for number in (signal.SIGINT, signal.SIGTERM):
        arguments = ["caption", str(tmp_path / "long.wav"), "--format", "jsonl", "--output", str(folder)]
        with subprocess.Popen([*AURICLE, *arguments], cwd=place, env=environment(), stderr=subprocess.PIPE, text=True) as process:
            until = time.monotonic() + LIMIT_S
            while not list(folder.glob(".*.part")) and time.monotonic() < until:
                assert process.poll() is None, "it ended before it could be interrupted"
                time.sleep(0.01)
            process.send_signal(number)
            _, said = process.communicate(timeout=LIMIT_S)
        assert (process.returncode, said) == (130, "")
        assert list(folder.iterdir()) == []


def test_an_output_file_has_the_permissions_that_the_user_asked_for(place: Path, tmp_path: Path) -> None:
    auricle(place, "caption", "good.wav", "--output", tmp_path / "out")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "out" / "good.txt").stat().st_mode & 0o777 == 0o666 & ~mask


# listen


def test_listen_to_a_file_gives_what_caption_gives(place: Path, tmp_path: Path) -> None:
    done = auricle(place, "listen", "--input", "good.wav", "--format", "jsonl", "--output", tmp_path / "x.jsonl")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    heard = records((tmp_path / "x.jsonl").read_text())
    assert heard[1:] == records(auricle(place, "caption", "good.wav", "--format", "jsonl").stdout)[1:]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_listen_still_ends_what_is_open(place: Path, tmp_path: Path, number: signal.Signals) -> None:
    noise = np.random.default_rng(3).normal(0, 0.1, 16_000 * 30).astype(np.float32)
    noise[: 16_000 // 2] = 0
    soundfile.write(tmp_path / "noise.wav", noise, 16_000)
    with subprocess.Popen(
        [*AURICLE, "listen", "--input", str(tmp_path / "noise.wav"), "--format", "jsonl"],
        cwd=place,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        got = []
        while not any(record.get("label") == "Loud sound" for record in got):
            got.append(json.loads(process.stdout.readline()))
        before = time.monotonic()
        process.send_signal(number)
        rest, said = process.communicate(timeout=LIMIT_S)
        assert time.monotonic() - before < 3
    got += records(rest)
    assert (process.returncode, said) == (130, "")
    started = {record["id"] for record in got if record.get("state") == "start"}
    ended = {record["id"] for record in got if record.get("state") == "end"}
    assert started == ended != set()


def on_terminal(arguments: list[str], place: Path, stop: Callable[[bytes], bool] | None = None) -> tuple[int, str]:
    """Exit code and everything that a terminal of 80 columns got; SIGINT once `stop` says so."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(place)
        os.execvpe(AURICLE[0], [*AURICLE, *arguments], environment(TERM="xterm"))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    got, until = b"", time.monotonic() + LIMIT_S
    with contextlib.suppress(OSError):  # EIO: the child has closed its side
        while time.monotonic() < until:
            if select.select([terminal], [], [], 0.1)[0]:
                got += os.read(terminal, 65_536)
            if stop is not None and stop(got):
                os.kill(child, signal.SIGINT)
                stop = None
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), got.decode()


def test_the_live_view_shows_gate_and_sound_and_gives_the_cursor_back(place: Path) -> None:
    code, got = on_terminal(["listen", "--input", "good.wav"], place)
    assert code == 0
    assert "file:good.wav · tiny 0.1.0" in got
    assert "○ quiet" in got
    assert re.search(r"dBFS ● sound .*\[Loud sound\]", got)
    assert got.endswith("\x1b[?25h")


def test_an_interrupted_live_view_gives_the_cursor_back(place: Path) -> None:
    code, got = on_terminal(["listen", "--input", "good.wav"], place, stop=lambda got: got.count(b"dBFS") > 3)
    assert code == 130
    assert got.endswith("\x1b[?25h")
    assert "Traceback" not in got


def test_a_progress_bar_is_shown_on_a_terminal_and_taken_away_again(place: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.random.default_rng(1).normal(0, 0.1, 16_000 * 240).astype(np.float32), 16_000)
    code, got = on_terminal(["caption", str(tmp_path / "long.wav"), "--output", str(tmp_path / "out")], place)
    assert code == 0
    assert re.search(r"long\.wav \[#*\.*\] +\d+% \d+x real time", got)
    assert got.endswith("\r\x1b[K")


# devices and inspect


def test_devices_are_one_array_for_programs(place: Path) -> None:
    done = auricle(place, "devices", "--json")
    if done.returncode == 1:
        assert "libportaudio2" in refusal(done, 1)
        return
    for device in json.loads(done.stdout):
        assert {"name", "stable_name", "host_api", "rate", "channels", "is_default"} <= device.keys()


def test_inspect_shows_models_labels_and_receipt(place: Path) -> None:
    page = auricle(place, "inspect", "tiny")
    assert page.returncode == 0
    for words in (
        "tiny 0.1.0 (schema 1), Apache-2.0",
        "encoder.onnx  onnx float32",
        "mels float32 [1, 25, 16]",
        "Loud sound; Soft sound",
        "n = 0)",
    ):
        assert words in page.stdout
    described = json.loads(auricle(place, "inspect", "./tiny", "--json").stdout)
    assert described["manifest"] == json.loads((place / "tiny" / "manifest.json").read_text())
    assert described["bytes"] == (place / "tiny" / "encoder.onnx").stat().st_size


def test_the_starter_that_ships_passes_its_own_checks(place: Path) -> None:
    described = json.loads(auricle(place, "inspect", "starter", "--json").stdout)
    assert described["manifest"]["name"] == "starter"
    assert described["bytes"] <= 20_000_000
    assert {"Bark", "Smoke detector, smoke alarm", "Siren", "Speech"} <= set(described["manifest"]["labels"])
    assert described["manifest"]["receipt"]["figures"]
