"""The program as a person or another program runs it: exit codes, one sentence for each failure, nothing half written."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import importlib.util
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

import line_bundle
import numpy as np
import pytest
import soundfile
import tiny_bundle

import edge
from edge import cli
from edge.commands.caption import names
from edge.errors import OutputError
from export.pack import pack_tar

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
    soundfile.write(root / "noughts.wav", np.full(16_000, np.nan, np.float32), 16_000, "FLOAT")
    soundfile.write(root / "silent.wav", np.zeros(16_000, np.float32), 16_000)
    caption = {"prompt": "<caption>", "limit_tokens": 12, "context": 128, "ask_prompt": "<caption>{question}<caption>"}
    line_bundle.make(root / "asked", caption=caption)
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


@pytest.mark.parametrize("verb", ["listen", "caption", "ask", "devices", "inspect"])
def test_every_verb_explains_itself_with_an_example(place: Path, verb: str) -> None:
    done = auricle(place, verb, "--help")
    assert done.returncode == 0
    assert f"example:\n  auricle {verb}" in done.stdout


def test_help_needs_no_numpy_and_no_model_runtime(place: Path) -> None:
    program = "import sys; from edge.cli import parser; parser().format_help(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=True)
    assert not {"numpy", "onnxruntime", "soundfile", "sounddevice", "llama_cpp", "edge.types"} & set(done.stdout.split())


def test_the_version_is_that_of_the_package(place: Path) -> None:
    assert auricle(place, "--version").stdout == f"auricle {edge.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "VERB"),
        (["hear"], "invalid choice: 'hear'"),
        (["caption"], "required: FILE"),
        (["inspect"], "required: BUNDLE"),
        (["ask"], "required: QUESTION"),
        (["ask", "What?", "--last", "-1"], "--last is '-1', but must be a number of seconds"),
        (["ask", "What?", "--through", "5"], "--through needs files"),
        (["ask", " <> ", "good.wav"], "the question is empty"),
        (["ask", "What?", "good.wav", "--threshold", "0.5"], "unrecognized arguments: --threshold"),
        (["listen", "--inp", "good.wav"], "unrecognized arguments: --inp"),
        (["listen", "--input", "good.wav", "--device", "x"], "not allowed with"),
        (["caption", "good.wav", "--format", "xml"], "invalid choice: 'xml'"),
        (["caption", "good.wav", "--threshold", "3"], ": --threshold is '3', but must be a number from 0.01 to 1"),
        (["caption", "good.wav", "--threads", "none"], ": --threads is 'none'"),
        (["caption", "good.wav", "--hop-s", "9", "--max-turn-s", "2"], "do not go together"),
        (["caption", "good.wav", "--config", "missing.toml"], "missing.toml: No such file"),
        (["caption", "good.wav", "--bundle", ""], ": --bundle is ''"),
    ],
)
def test_wrong_usage_is_one_sentence_and_code_2(place: Path, arguments: list[str], words: str) -> None:
    done = auricle(place, *arguments)
    assert words in refusal(done, 2)
    assert done.stdout == ""


def test_a_file_whose_name_starts_like_a_flag_is_told_how_to_be_named(place: Path) -> None:
    (place / "-x.wav").write_bytes((place / "good.wav").read_bytes())
    said = refusal(auricle(place, "caption", "-x.wav"), 2)
    assert "write ./-x.wav, or `--` before the names of files" in said
    assert auricle(place, "caption", "--", "-x.wav").returncode == 0
    assert "write ./" not in refusal(auricle(place, "caption", "good.wav", "-y.wav"), 2)


def test_the_whole_program_explains_itself_with_examples_that_parse(place: Path) -> None:
    shown = auricle(place, "--help").stdout
    examples = re.findall(r"^  auricle (.*)$", shown[shown.index("examples:") :], re.MULTILINE)
    assert len(examples) >= 2
    for example in examples:
        if "--help" not in example:
            cli.parser().parse_args(example.split())


def test_an_unknown_key_in_file_or_variable_names_the_nearest(place: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[gate]\ntreshold = 0.3")
    assert "nearest known one is gate.threshold" in refusal(auricle(place, "caption", "good.wav", "--config", tmp_path / "c.toml"), 2)
    assert "AURICLE_GATE_THRESHOLD" in refusal(auricle(place, "caption", "good.wav", AURICLE_TRESHOLD="0.3"), 2)


# The world


@pytest.mark.parametrize("file", ["missing.wav", "empty.wav", "text.wav", "cut.wav", "nothing.wav", "nan.wav", "noughts.wav", "sub"])
@pytest.mark.parametrize("verb", ["listen", "caption"])
def test_what_is_not_sound_is_refused_by_name_and_nothing_is_written(place: Path, tmp_path: Path, verb: str, file: str) -> None:
    where = tmp_path / "out"
    source = ["--input", file] if verb == "listen" else [file]
    for output in ([], ["--output", where]):
        done = auricle(place, verb, *source, "--format", "jsonl", *output)
        assert file in refusal(done, 1)
        assert done.stdout == ""
        assert list(tmp_path.iterdir()) == []


def test_values_that_are_no_numbers_are_counted_and_refused(place: Path, tmp_path: Path) -> None:
    there = np.count_nonzero(np.arange(16_000 * 4) % 3 == 0)
    said = refusal(auricle(place, "caption", "nan.wav"), 1)
    assert f"{there} of its values are not numbers (NaN or infinite), the first at 0.000 s" in said
    # Clipped values are no such thing.
    soundfile.write(tmp_path / "loud.wav", np.full(16_000, 3.0, np.float32), 16_000, "FLOAT")
    assert auricle(place, "caption", tmp_path / "loud.wav", "--format", "jsonl").stderr == ""


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("my song.m4a", "`ffmpeg -i 'my song.m4a' 'my song.wav'`"),
        ("tape.raw", "`ffmpeg -f s16le -ar 16000 -ac 1 -i tape.raw tape.wav`"),
        ("tape.wav", "copy or export it again"),
    ],
)
def test_a_format_that_is_not_read_is_refused_with_the_way_to_convert_it(tmp_path: Path, name: str, remedy: str) -> None:
    tiny_bundle.make(tmp_path / "tiny")
    (tmp_path / name).write_bytes(b"\0\0\0\x20ftypM4A " * 100)
    assert remedy in refusal(auricle(tmp_path, "caption", name), 1)


def test_odd_but_sound_files_are_heard(place: Path) -> None:
    done = auricle(place, "caption", "eight.wav", "other.flac", "--format", "jsonl")
    assert done.returncode == 0
    assert [record["source"] for record in map(json.loads, done.stdout.splitlines()) if record["type"] == "session"] == [
        "file:eight.wav",
        "file:other.flac",
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
@pytest.mark.parametrize("verb", ["listen", "caption", "ask", "inspect"])
def test_a_faulty_bundle_is_refused_by_every_verb(
    place: Path, tmp_path: Path, verb: str, fault: Callable[[Path], None], words: str
) -> None:
    bad = tiny_bundle.make(tmp_path / "bad")
    fault(bad)
    source = {"inspect": [bad], "caption": ["good.wav"], "ask": ["What is heard?", "good.wav"], "listen": ["--input", "good.wav"]}[verb]
    arguments = source if verb == "inspect" else [*source, "--bundle", bad]
    done = auricle(place, verb, *arguments)
    assert words in refusal(done, 1)
    assert done.stdout == ""


def test_a_member_of_a_tar_is_named_in_full(tmp_path: Path) -> None:
    for name, words in [("tiny/my notes", "'tiny/my notes'"), ("tiny/encoder.onnx", "tiny/encoder.onnx is in the tar twice")]:
        bundle = tiny_bundle.make(tmp_path / "tiny")
        (bundle / "encoder.onnx").rename(tmp_path / "kept")
        with tarfile.open(tmp_path / "bad.tar", "w:") as archive:
            archive.add(bundle / "manifest.json", "tiny/manifest.json")
            archive.add(tmp_path / "kept", "tiny/encoder.onnx")
            archive.add(tmp_path / "kept", name)
        assert words in refusal(auricle(tmp_path, "inspect", "bad.tar"), 1)
        shutil.rmtree(bundle)


def test_an_unknown_device_is_named_and_so_is_the_way_out(place: Path) -> None:
    said = refusal(auricle(place, "listen", "--device", "no such microphone", "--format", "jsonl"), 1)
    assert "microphone" in said
    assert "auricle devices" in said or "apt-get" in said


def test_output_that_cannot_be_written_is_one_sentence(place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "is a file" in refusal(auricle(place, "caption", "good.wav", "--output", tmp_path / "file"), 1)
    for output, words in [
        (tmp_path / "no" / "x.jsonl", "x.jsonl cannot be written (No such file or directory); make its folder first"),
        (tmp_path, "cannot be written (Is a directory); name a file inside that folder"),
        (tmp_path / "file" / "x.jsonl", "x.jsonl cannot be written (Not a directory); a part of its path is a file"),
    ]:
        assert words in refusal(auricle(place, "listen", "--input", "good.wav", "--format", "jsonl", "--output", output), 1)
    with open("/dev/full", "w") as full:
        for arguments in (["caption", "good.wav", "--format", "jsonl"], ["inspect", "tiny"], ["--help"]):
            done = subprocess.run(
                [*AURICLE, *arguments],
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
    monkeypatch.setattr(importlib, "import_module", broken)
    assert cli.main(["devices"]) == 1
    assert re.fullmatch(
        r"auricle: this is a defect in auricle \(ZeroDivisionError: of ours with a line break\).*AURICLE_DEBUG=1.*\n",
        capsys.readouterr().err,
    )
    monkeypatch.setenv("AURICLE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        cli.main(["devices"])


@pytest.mark.parametrize("closed", ["1", "2", "12", "012"])
def test_closed_streams_are_no_defect(place: Path, tmp_path: Path, closed: str) -> None:
    """As a shell's `>&-` does it."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        shut = " ".join(f"{number}{'<' if number == '0' else '>'}&-" for number in closed)
        command = ["sh", "-c", f'"$@" {shut}', "sh", *AURICLE, *arguments]
        return subprocess.run(command, cwd=place, env=environment(), capture_output=True, text=True, check=False, timeout=LIMIT_S)

    for arguments in (["caption", "good.wav", "--format", "jsonl"], ["inspect", "tiny"], ["--help"], ["--version"]):
        done = run(*arguments)
        assert done.stderr.count("\n") == ("2" not in closed)
        if "1" in closed:
            assert (done.returncode, done.stdout) == (1, "")
            assert "2" in closed or "standard output cannot be written (Bad file descriptor); it is closed" in done.stderr
        else:
            assert done.returncode == 0
    bad = run("caption", "missing.wav")
    assert (bad.returncode, bad.stdout) == (1, "")  # the sentence does not go where captions go
    assert run("caption", "good.wav", "--format", "jsonl", "--output", str(tmp_path / "out")).returncode == 0
    assert json.loads((tmp_path / "out" / "good.jsonl").read_text().splitlines()[0])["source"] == "file:good.wav"


def test_too_little_memory_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def greedy(name: str) -> None:
        raise MemoryError

    monkeypatch.setattr(importlib, "import_module", greedy)
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
        assert (done.returncode, done.stdout) == (0, "")
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


@pytest.mark.parametrize("form", ["text", "srt", "vtt", "jsonl"])
def test_an_empty_answer_is_explained_where_a_person_reads_it(place: Path, form: str) -> None:
    done = auricle(place, "caption", "silent.wav", "good.wav", "--format", form)
    assert done.returncode == 0
    explained = ["auricle: nothing heard in silent.wav", "auricle: no caption for what was heard in good.wav; --format jsonl shows it"]
    assert done.stderr.splitlines() == ([] if form == "jsonl" else explained)


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


def test_listen_never_writes_over_what_it_listens_to(place: Path, tmp_path: Path) -> None:
    data = (place / "good.wav").read_bytes()
    own = tmp_path / "own.wav"
    own.write_bytes(data)
    (tmp_path / "soft.wav").symlink_to(own)
    (tmp_path / "hard.wav").hardlink_to(own)
    for output in (own, tmp_path / "soft.wav", tmp_path / "hard.wav", tmp_path / "." / ".." / tmp_path.name / "own.wav"):
        done = auricle(place, "listen", "--input", own, "--format", "jsonl", "--output", output)
        assert "is the file that --input names" in refusal(done, 2)
        assert own.read_bytes() == data


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", ["argparse", "edge.config", "edge.commands.output", "numpy", "numpy.linalg", "soundfile", "onnxruntime"])
def test_an_interrupt_while_the_program_starts_ends_it_at_once(place: Path, module: str, number: signal.Signals) -> None:
    """The signal comes in the middle of an import, where a KeyboardInterrupt is a traceback, lost, or an error of the library."""
    program = (
        "import os, sys\n"
        "def strike(event, arguments):\n"
        f"    if event == 'import' and arguments[0] == {module!r}:\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "sys.addaudithook(strike)\n"
        "from edge.cli import main\n"
        "sys.exit(main())\n"
    )
    command = [sys.executable, "-c", program, "listen", "--input", "good.wav", "--format", "jsonl"]
    done = subprocess.run(command, cwd=place, env=environment(), capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "auricle: interrupted\n")


@pytest.mark.parametrize("delay_s", [0.1, 0.3, 0.6, 1.0, 2.0])
def test_an_interrupt_ends_the_program_at_whatever_moment(place: Path, delay_s: float) -> None:
    program = "import sys, edge.cli; print('up', file=sys.stderr, flush=True); sys.exit(edge.cli.main())"
    command = [sys.executable, "-c", program, "listen", "--input", "good.wav", "--format", "jsonl"]
    with subprocess.Popen(command, cwd=place, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "up\n"
        time.sleep(delay_s)  # what it is at by then depends on the machine; the law holds all the same
        process.send_signal(signal.SIGINT)
        before = time.monotonic()
        got, said = process.communicate(timeout=LIMIT_S)
        assert time.monotonic() - before < 10
    assert process.returncode == 130
    assert said == "" if got else said in ("", "auricle: interrupted\n")  # whoever is stopped in the middle finishes instead


def test_an_interrupt_at_the_start_leaves_no_unpacked_bundle_behind(tmp_path: Path) -> None:
    tiny_bundle.make(tmp_path / "tiny")
    pack_tar(tmp_path / "tiny", tmp_path / "tiny.tar")
    program = (
        "import edge.cli, os, signal, sys; from edge import archive; from pathlib import Path; edge.cli._end_at_once_on_signals(); "
        "tar = archive.Tar(Path('tiny.tar'), 'tiny.tar'); print(tar.file('encoder.onnx'), flush=True); os.kill(os.getpid(), signal.SIGINT)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "auricle: interrupted\n")
    assert done.stdout.endswith("encoder.onnx\n")
    assert not Path(done.stdout.strip()).parent.exists()


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
    code, got = on_terminal(["caption", str(tmp_path / "long.wav"), "--format", "jsonl", "--output", str(tmp_path / "out")], place)
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


def test_models_lists_without_the_hub_and_says_what_a_pull_needs(place: Path) -> None:
    """Neither huggingface_hub nor a network is needed to see what there is; tests/test_models.py has the rest."""
    env = {"AURICLE_MODELS": str(place / "models")}
    listed = auricle(place, "models", "list", **env)
    assert listed.returncode == 0
    assert "starter" in listed.stdout
    assert "onnx-community/whisper-tiny.en" in listed.stdout
    assert auricle(place, "models", "add", "kitchen", "somebody/bundle", **env).returncode == 0
    if importlib.util.find_spec("huggingface_hub") is None:
        done = auricle(place, "models", "pull", "kitchen", **env)
        assert done.returncode == 1
        assert "pip install 'auricle[hub]'" in done.stderr
    assert auricle(place, "models", "verify", "starter", **env).returncode == 0
    assert auricle(place, "models", "frobnicate").returncode == 2


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
    placed = json.loads(auricle(place, "inspect", "./tiny", "--json", "--providers", "cpu").stdout)
    assert any("on cpu" in line for line in placed.pop("placement"))
    assert placed == described


def test_the_starter_that_ships_passes_its_own_checks(place: Path) -> None:
    described = json.loads(auricle(place, "inspect", "starter", "--json").stdout)
    assert described["manifest"]["name"] == "starter"
    assert described["bytes"] <= 20_000_000
    assert {"Bark", "Smoke detector, smoke alarm", "Siren", "Speech"} <= set(described["manifest"]["labels"])
    assert described["manifest"]["receipt"]["figures"]


def test_an_answer_is_one_line_or_one_object(place: Path) -> None:
    line = auricle(place, "ask", "What is <b>heard</b>?", "good.wav", "--bundle", "asked")
    assert (line.returncode, line.stderr, line.stdout.count("\n")) == (0, "", 1)
    said = json.loads(auricle(place, "ask", "What is <b>heard</b>?", "good.wav", "--json", AURICLE_BUNDLE="asked").stdout)
    assert said == {"type": "answer", "question": "What is bheard/b?", "text": line.stdout.strip("\n"), "start": 0.0, "end": 4.0}


@pytest.mark.parametrize("file", ["missing.wav", "empty.wav", "text.wav", "cut.wav", "nothing.wav", "sub"])
def test_a_question_about_what_is_not_sound_is_refused_by_name(place: Path, file: str) -> None:
    done = auricle(place, "ask", "What is heard?", file, "--bundle", "asked")
    assert file in refusal(done, 1)
    assert done.stdout == ""


def test_a_bundle_that_answers_nothing_says_so(place: Path) -> None:
    assert "bundle tiny answers no questions; choose one" in refusal(auricle(place, "ask", "What is heard?", "good.wav"), 1)
