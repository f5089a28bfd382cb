"""Options: one TOML file, then variables, then flags; frozen, checked, and helpful about a slip of the pen."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from edge.config import SETTINGS, Config, load
from edge.errors import ConfigError
from edge.gate import GateOptions


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "auricle.toml"


def test_the_table_of_settings_and_the_frozen_options_are_the_same_list_with_the_same_defaults() -> None:
    plain = {field.name: getattr(Config(), field.name) for field in dataclasses.fields(Config) if field.name != "gate"}
    gate = {f"gate.{field.name}": getattr(GateOptions(), field.name) for field in dataclasses.fields(GateOptions)}
    assert {key: setting.default for key, setting in SETTINGS.items()} == plain | gate
    assert load() == Config()


def test_the_later_of_file_variable_and_flag_wins(file: Path) -> None:
    file.write_text('bundle = "a"\nthreads = 2\n[gate]\nthreshold = 0.3\nhop_s = 1\n')
    got = load(file, {"AURICLE_THREADS": "3", "AURICLE_GATE_THRESHOLD": "0.4"}, {"threshold": "0.6", "device": None})
    assert (got.bundle, got.threads, got.gate.hop_s, got.gate.threshold, got.device) == ("a", 3, 1.0, 0.6, None)
    assert load(file, {"AURICLE_THREADS": "3"}).gate.threshold == 0.3


def test_the_file_may_be_named_by_a_variable_and_a_flag_names_another(file: Path, tmp_path: Path) -> None:
    file.write_text("threads = 2")
    other = tmp_path / "other.toml"
    other.write_text("threads = 4")
    assert load(None, {"AURICLE_CONFIG": str(file)}).threads == 2
    assert load(other, {"AURICLE_CONFIG": str(file)}).threads == 4


def test_options_cannot_be_changed_once_read() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load().threads = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[gate]\ntreshold = 0.4", ["gate.treshold", "nearest known one is gate.threshold"]),
        ("treshold = 0.4", ["treshold", "nearest known one is gate.threshold"]),
        ('bundel = "x"', ["bundel", "nearest known one is bundle"]),
        ("[gates]\nhop_s = 1", ["gates", "nearest known one is gate."]),
        ("[gate.more]\nx = 1", ["gate.more", "nearest"]),
        ("gate = 3", ["gate must be a table"]),
        ("[bundle]\nname = 'x'", ["bundle is", "must be text"]),
        ('format = "xml"', ["format is 'xml'", "live, jsonl, text, srt, vtt"]),
        ("threads = 1.5", ["threads is 1.5", "whole number from 1 to 64"]),
        ("threads = true", ["threads is True", "whole number"]),
        ('threads = "3"', ["threads is '3'", "whole number"]),
        ("threads = 0", ["threads is 0", "from 1 to 64"]),
        ("remind_s = nan", ["remind_s is nan", "a number from"]),
        ("[gate]\nthreshold = 2", ["gate.threshold is 2", "from 0.01 to 1"]),
        ("[gate]\nhop_s = 9\nmax_turn_s = 2", ["do not go together", "max_turn_s"]),
        ('bundle = ""', ["bundle is ''"]),
        ("bundle = ", ["it is not TOML"]),
        ("a = 1\na = 2", ["it is not TOML"]),
        ("x = " + "[" * 100_000, ["it is not TOML"]),
        ("# " + "x" * 2_000_000, ["larger than"]),
    ],
)
def test_a_wrong_file_is_refused_with_the_key_and_the_remedy(file: Path, text: str, words: list[str]) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        load(file)
    for word in words:
        assert word in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"AURICLE_TRESHOLD": "0.4"}, "nearest known one is AURICLE_GATE_THRESHOLD"),
        ({"AURICLE_CONFG": "x.toml"}, "nearest known one is AURICLE_CONFIG"),
        ({"AURICLE_DEBUGG": "1"}, "nearest known one is AURICLE_DEBUG"),
        ({"AURICLE_GATE_HOPS": "0.4"}, "nearest known one is AURICLE_GATE_HOP_S"),
        ({"AURICLE_THREADS": "many"}, "AURICLE_THREADS: threads is 'many'"),
        ({"AURICLE_THREADS": ""}, "AURICLE_THREADS: threads is ''"),
        ({"AURICLE_REMIND_S": "inf"}, "AURICLE_REMIND_S: remind_s is 'inf'"),
        ({"AURICLE_CONFIG": "/no/such/file.toml"}, "/no/such/file.toml: No such file"),
    ],
)
def test_a_wrong_variable_is_refused_by_its_name(environ: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(None, environ)
    assert words in str(refusal.value)


def test_a_file_that_is_a_folder_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not TOML"):
        load(tmp_path / "binary")


def test_variables_of_others_and_of_the_build_are_left_alone() -> None:
    assert load(None, {"PATH": "/bin", "AURICLE_DEBUG": "1", "AURICLE_MODELS": "/m", "AURICLE_WHEEL_CACHE": "/x"}) == Config()


@pytest.mark.parametrize("key", SETTINGS)
def test_every_setting_takes_its_ends_and_refuses_what_is_beyond(key: str) -> None:
    setting = SETTINGS[key]
    values: list[Any]
    wrong: list[Any]
    if key == "providers":
        values, wrong = ["cpu", "cuda, cpu"], ["gpu", "cpu;cuda", "", 3]
    elif setting.kind is bool:
        values, wrong = [True, False, "yes", "0"], ["maybe", 2, ""]
    elif setting.kind is str:
        values, wrong = list(setting.choices) or ["anything"], ["", 3]
    else:
        values, wrong = [setting.low, setting.high], [setting.low - 1, setting.high + 1, "x"]
    for value in values:
        said = ""
        try:
            load(None, {}, {key: value})
        except ConfigError as error:
            said = str(error)
        assert not said or "do not go together" in said  # two options may exclude each other; alone the value is right
    for value in wrong:
        with pytest.raises(ConfigError):
            load(None, {}, {key: value})
