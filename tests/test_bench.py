"""Laws of `auricle bench`: a figure says what it rests on, what was not measured says so, and two results are compared only knowingly."""

from __future__ import annotations

import copy
import json
import threading
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from line_bundle import scene

from edge import cli
from edge.bench import machine
from edge.bench.page import page
from edge.bench.run import Live, Plan, files_of
from edge.bench.stats import distribution, slope_per_hour
from edge.bench.table import compared, differences, figures, lines, shown
from edge.bundle import Bundle
from edge.config import load
from edge.errors import AudioFileError
from edge.pipeline import Line
from edge.power import Channel, PowerMeter, PowerSource

VOID = {"meta", "br"}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A real one, of six seconds of sound, as the command writes it."""
    folder = tmp_path_factory.mktemp("bench")
    soundfile.write(folder / "short.wav", scene(("", 0.5), ("Tone", 2.0), ("", 2.0)), 16_000, subtype="FLOAT")
    out = folder / "result.json"
    assert (
        cli.main(["bench", "--quick", "--input", str(folder / "short.wav"), "--json", str(out), "--html", str(folder / "page.html")]) == 0
    )
    found = json.loads(out.read_text())
    found["page"] = (folder / "page.html").read_text()
    return found


class Tags(HTMLParser):
    """Tags that are open, and all text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert not tags.open
    return tags


def test_percentiles_are_numpys_and_too_few_values_give_none() -> None:
    values = np.random.default_rng(1).exponential(10, 250).tolist()
    told = distribution(values, 3)
    assert told["n"] == 250
    for percent in (50, 95, 99):
        assert told[f"p{percent}"] == pytest.approx(np.percentile(values, percent), abs=1e-3)
    assert distribution(values[:99])["p99"] is None
    assert distribution(values[:19])["p95"] is None
    assert distribution([1.0, 2.0]) == {"n": 2, "p50": None, "p95": None, "p99": None, "max": 2.0}
    assert distribution([]) == {"n": 0, "p50": None, "p95": None, "p99": None, "max": None}


def test_a_slope_is_what_an_hour_adds() -> None:
    assert slope_per_hour(range(0, 100, 10), [5 + at / 360 for at in range(0, 100, 10)]) == pytest.approx(10.0)
    assert slope_per_hour([1.0] * 5, [1.0] * 5) is None


def test_a_real_run_has_every_group_and_what_this_machine_cannot_tell_is_not_measured(result: dict[str, Any]) -> None:
    found = {(f.group, f.name): f for f in figures(result)}
    groups = {group for group, _ in found}
    assert groups == {"start-up", "as fast as it goes", "at the speed of real time", "memory", "heat", "energy"}
    for name in ("real-time factor", "CPU of vad for an hour", "CPU of encoder for an hour"):
        value = found["as fast as it goes", name].value
        assert value is not None
        assert value > 0
    assert 0 < result["offline"]["real_time_factor"] < 1
    assert result["offline"]["window_s"] >= 2.0
    assert result["startup_ms"]["auricle --version"]["max"] < result["startup_ms"]["whole line, first block"]["max"]
    assert result["live"]["memory_mb"]["peak"] > 20
    assert result["quick"] is True
    slope = found["memory", "growth in an hour"]
    assert shown(slope) == "not measured"
    assert "ten minutes" in slope.note
    text = "\n".join(lines(result))
    assert "quick: windows shorter" in text
    if result["live"]["energy"]["joules"] is None:
        assert result["live"]["energy"]["why"]
        assert "not measured" in text


def test_the_page_is_whole_escaped_and_needs_nothing_from_elsewhere(result: dict[str, Any]) -> None:
    told = {key: value for key, value in result.items() if key != "page"}
    tags = read(result["page"])
    assert tags.links == []
    assert "@import" not in result["page"]
    assert "url(" not in result["page"]
    nasty = copy.deepcopy(told)
    nasty["bundle"]["name"] = nasty["machine"]["model"] = nasty["input"] = "<script>alert(1)</script>\"'&"
    nasty["live"]["energy"] = {"joules": None, "why": "<img src=x onerror=alert(1)>"}
    nasty["offline"]["steps"]["<b>"] = nasty["offline"]["steps"]["vad"]
    for text in (page(nasty), page(told, nasty)):
        again = read(text)
        assert "<script" not in text
        assert "<img" not in text
        assert any("<script>alert(1)</script>\"'&" in part for part in again.text), "shown as text"


def test_results_of_different_machines_bundles_and_inputs_are_compared_with_a_warning(result: dict[str, Any]) -> None:
    other = copy.deepcopy({key: value for key, value in result.items() if key != "page"})
    other["quick"] = False
    other["machine"]["model"] = "Raspberry Pi 5"
    other["bundle"]["models"]["encoder"] = "0" * 12
    other["input"] = "another.wav"
    other["offline"]["cpu_s_per_audio_hour"] *= 2
    said = " ".join(differences(result, other))
    for word in ("Raspberry Pi 5", "bundles differ", "another.wav", "--quick"):
        assert word in said
    ratios = {figure.name: ratio for figure, _, ratio in compared(result, other)}
    assert ratios["CPU for an hour of audio"] == pytest.approx(0.5)
    assert ratios["growth in an hour"] is None
    same = {key: value for key, value in result.items() if key != "quick"} | {"quick": False}
    assert differences(same, copy.deepcopy(same)) == []
    assert "Raspberry Pi 5" in page(result, other)


def test_energy_is_told_for_each_captioned_minute_with_what_it_covers() -> None:
    """A meter that always reads ten watts above five of idle, over a short real run."""
    line, state = Line(Bundle.open("starter")), {"watts": 5.0}
    meter = PowerMeter(PowerSource("fake rail", "the whole board", (Channel("rail", lambda: state["watts"]),)), rate_hz=100.0)

    class Busy(Live):
        def _hear(self, path: Path, begin: float) -> None:
            state["watts"] = 15.0
            super()._hear(path, begin)
            state["watts"] = 5.0

    live = Busy(line, Plan((Path("edge/data/demo_scene.flac"),), live_s=6.0, idle_s=0.5), meter)
    told = live.measure(lambda text: None)["energy"]
    line.close()
    assert told["scope"] == "the whole board"
    assert told["watts"] == pytest.approx(15.0, rel=0.05)
    assert told["idle_watts"] == pytest.approx(5.0, rel=0.05)
    assert told["net_joules"] == pytest.approx(10.0 * 6.0, rel=0.1)
    assert told["of"] == "net"
    assert told["per_captioned_minute"] == pytest.approx(told["net_joules"] / (live.captioned_s / 60), rel=0.01)


def test_all_profiles_are_measured_one_after_another_and_a_meters_file_is_read_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("QUICK_S", 0.6), ("QUICK_LIVE_S", 1.2)):
        monkeypatch.setattr(f"edge.commands.bench.{name}", seconds)
    soundfile.write(tmp_path / "short.wav", scene(("", 0.3), ("Tone", 1.0), ("", 1.0)), 16_000, subtype="FLOAT")
    readings = tmp_path / "meter.csv"
    readings.write_text("time_s,watts\n")
    over = threading.Event()

    def write() -> None:
        while not over.wait(0.1):
            with readings.open("a") as more:
                more.write(f"{time.time()},4.0\n")

    writer = threading.Thread(target=write)
    writer.start()
    words = ["bench", "--quick", "--profile", "all", "--input", str(tmp_path / "short.wav"), "--power-csv", str(readings)]
    try:
        assert cli.main([*words, "--json", str(tmp_path / "all.json"), "--html", str(tmp_path / "all.html")]) == 0
    finally:
        over.set()
        writer.join()
    found = json.loads((tmp_path / "all.json").read_text())
    assert [one["profile"] for one in found] == ["glasses", "robot", "mains"]
    for one in found:
        assert one["live"]["energy"]["watts"] == pytest.approx(4.0, rel=0.01)
        assert one["live"]["energy"]["scope"] == "what the meter stands before"
    assert "beside the other result" in (tmp_path / "all.html").read_text()


def test_a_machine_tells_what_it_can(tmp_path: Path) -> None:
    for name, text in {
        "sys/class/thermal/thermal_zone0/temp": "45500",
        "sys/class/thermal/thermal_zone1/temp": "61000",
        "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3",
        "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "4",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave",
        "proc/device-tree/model": "Raspberry Pi 5 Model B\0",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert machine.heat(tmp_path) == {"hottest_c": 61.0, "throttled": 7}
    told = machine.stamp(tmp_path)
    assert (told["model"], told["governor"]) == ("Raspberry Pi 5 Model B", "powersave")
    assert machine.heat(tmp_path / "none") == {"hottest_c": None, "throttled": None}


def test_a_folder_is_every_sound_file_in_it(tmp_path: Path) -> None:
    for name in ("b.wav", "a.FLAC", "notes.txt"):
        (tmp_path / name).write_text("")
    assert [path.name for path in files_of(tmp_path)] == ["a.FLAC", "b.wav"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(AudioFileError, match="holds no sound files"):
        files_of(tmp_path / "empty")


def test_a_profile_lies_below_what_is_set() -> None:
    assert load(flags={"profile": "glasses"}).gate.hop_s == 1.0
    assert load(flags={"profile": "glasses", "hop_s": "0.3"}).gate.hop_s == 0.3
    assert load(environ={"AURICLE_PROFILE": "robot", "AURICLE_REMIND_S": "7"}).remind_s == 7.0
    assert load(flags={"profile": "robot"}).gate.hang_over_s == 0.8
    assert load().gate.hop_s == 0.5


def test_wrong_use_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.json").write_text("{}")
    for words, says in (
        (["--compare", str(tmp_path / "other.json")], "no result of auricle bench"),
        (["--compare", str(tmp_path / "none.json")], "cannot be compared with"),
        (["--seconds", "1"], "must be a number from 10"),
        (["--profile", "car"], "invalid choice: 'car'"),
    ):
        assert cli.main(["bench", *words]) == 2
        assert says in capsys.readouterr().err
