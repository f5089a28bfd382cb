"""Laws of the power meter, on trees of known energy: what is read is what was used, and what cannot be known is not told."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.meter_file import FileMeter
from edge.power import Channel, Cost, Energy, PowerMeter, PowerSource, cost, find, pmic_watts

PMIC = """   3V7_WL_SW_A current(0)=0.10000000A
      3V3_SYS_A current(1)=0.20000000A
   VDD_CORE_A current(7)=2.00000000A
   3V7_WL_SW_V volt(8)=3.70000000V
      3V3_SYS_V volt(9)=3.30000000V
   VDD_CORE_V volt(15)=0.90000000V
      EXT5V_V volt(24)=5.15000000V
       BATT_V volt(25)=0.00000000V
"""


def nothing() -> str:
    raise FileNotFoundError("vcgencmd")


def jetson(root: Path) -> Path:
    for number, (label, mv, ma) in enumerate((("VDD_IN", 19_000, 500), ("VDD_CPU_GPU_CV", 5_000, 300), ("VDD_SOC", 5_000, 200)), 1):
        at = root / "sys/class/hwmon/hwmon3"
        at.mkdir(parents=True, exist_ok=True)
        (at / "name").write_text("ina3221\n")
        (at / f"in{number}_label").write_text(label + "\n")
        (at / f"in{number}_input").write_text(f"{mv}\n")
        (at / f"curr{number}_input").write_text(f"{ma}\n")
    return root


def rapl(root: Path, name: str = "package-0", energy_uj: int = 0, wraps_uj: int = 10_000_000, zone: str = "intel-rapl:0") -> Path:
    at = root / "sys/class/powercap" / zone
    at.mkdir(parents=True, exist_ok=True)
    for key, value in (("name", name), ("energy_uj", energy_uj), ("max_energy_range_uj", wraps_uj)):
        (at / key).write_text(f"{value}\n")
    return at / "energy_uj"


def battery(root: Path, status: str = "Discharging", **values: int) -> Path:
    at = root / "sys/class/power_supply/BAT0"
    at.mkdir(parents=True, exist_ok=True)
    for key, value in {"type": "Battery", "status": status, **values}.items():
        (at / key).write_text(f"{value}\n")
    return root


# --- What is there.


def test_the_rail_of_the_whole_board_is_taken_alone(tmp_path: Path) -> None:
    source, why = find(jetson(tmp_path), nothing)
    assert source is not None
    assert (source.name, source.scope, why) == ("INA VDD_IN", "the whole board", "")
    assert [channel.read() for channel in source.channels] == [pytest.approx(9.5)]


def test_rails_without_one_of_the_whole_are_added_and_named(tmp_path: Path) -> None:
    jetson(tmp_path)
    (tmp_path / "sys/class/hwmon/hwmon3/in1_label").write_text("VDD_GPU\n")
    source, _ = find(tmp_path, nothing)
    assert source is not None
    assert sum(channel.read() for channel in source.channels) == pytest.approx(9.5 + 1.5 + 1.0)
    assert "VDD_SOC" in source.scope


def test_rapl_takes_the_platform_before_the_packages_and_no_part_twice(tmp_path: Path) -> None:
    rapl(tmp_path, energy_uj=5_000_000)
    rapl(tmp_path, "core", 4_000_000, zone="intel-rapl:0:0")
    rapl(tmp_path, "package-1", 1_000_000, zone="intel-rapl:1")
    source, _ = find(tmp_path, nothing)
    assert source is not None
    assert [channel.read() for channel in source.channels] == [5.0, 1.0]
    assert "packages" in source.scope
    rapl(tmp_path, "psys", 9_000_000, zone="intel-rapl:2")
    source, _ = find(tmp_path, nothing)
    assert source is not None
    assert [channel.name for channel in source.channels] == ["psys"]


def test_a_pmic_is_the_sum_of_its_rails() -> None:
    assert pmic_watts(PMIC) == pytest.approx(0.37 + 0.66 + 1.8)
    with pytest.raises(ValueError, match="no rail"):
        pmic_watts("error=1")


def test_a_battery_counts_only_while_it_feeds(tmp_path: Path) -> None:
    source, _ = find(battery(tmp_path / "a", power_now=7_250_000), nothing)
    assert source is not None
    assert source.channels[0].read() == pytest.approx(7.25)
    source, _ = find(battery(tmp_path / "b", voltage_now=11_400_000, current_now=-500_000), nothing)
    assert source is not None
    assert source.channels[0].read() == pytest.approx(5.7), "some count what flows out as negative"
    assert find(battery(tmp_path / "c", "Charging", power_now=7_250_000), nothing)[0] is None


def test_what_is_there_and_cannot_be_read_is_named_and_a_machine_without_meters_says_so(tmp_path: Path) -> None:
    assert find(tmp_path / "none", nothing) == (None, "no INA rails, RAPL, PMIC or discharging battery can be read on this machine")
    counter = rapl(tmp_path)
    counter.unlink()
    counter.mkdir()  # root reads past permissions; what is a folder nobody reads
    source, why = find(tmp_path, nothing)
    assert source is None
    assert "RAPL intel-rapl:0 cannot be read" in why
    assert "run as root" in why
    assert find(tmp_path, lambda: PMIC)[0] is not None, "the next best is taken"


# --- What it comes to.


def metered(values: list[float | None], step_s: float = 0.02, counts: bool = False, wraps_at: float = 0.0) -> PowerMeter:
    """A meter that has read these values one step after another, from second 100 on; None fails."""
    clock = {"at": 100.0 - step_s}
    waiting = iter(values)

    def read() -> float:
        value = next(waiting)
        if value is None:
            raise OSError("no such device")
        return value

    def now() -> float:
        clock["at"] += step_s
        return clock["at"]

    meter = PowerMeter(PowerSource("fake", "all", (Channel("rail", read, counts, wraps_at),)), clock=now)
    for _ in values:
        meter.read()
    return meter


def test_a_constant_power_and_a_ramp_are_their_integrals() -> None:
    assert metered([5.0] * 501).energy(100.0, 110.0).joules == pytest.approx(50.0)
    ramp = metered([at * 0.02 for at in range(501)]).energy(100.0, 110.0)
    assert ramp.joules == pytest.approx(50.0)
    assert ramp.watts == pytest.approx(5.0)
    assert (ramp.readings, ramp.largest_gap_s) == (501, pytest.approx(0.02))


def test_a_counter_that_wraps_goes_on() -> None:
    counted = metered([(at * 0.1) % 7.0 for at in range(501)], counts=True, wraps_at=7.0)
    assert counted.energy(100.0, 110.0).joules == pytest.approx(50.0)


def test_a_rail_that_vanishes_is_not_measured_and_a_hiccup_is_a_gap_that_is_told() -> None:
    gone = metered([5.0] * 200 + [None] * 300).energy(100.0, 110.0)
    assert gone.joules is None
    assert "a gap of 6.0 s between readings, 300 readings failed" in gone.why
    hiccup = metered([5.0] * 200 + [None] * 20 + [5.0] * 281).energy(100.0, 110.0)
    assert hiccup.joules == pytest.approx(50.0)
    assert hiccup.largest_gap_s == pytest.approx(0.42)
    assert metered([5.0] * 501).energy(105.0, 115.0).joules is None, "what was not covered is not made up"


def window(watts: float | None, seconds: float = 10.0) -> Energy:
    return Energy(None if watts is None else watts * seconds, seconds, 500, 0.02, "" if watts is not None else "no readings")


def test_what_is_above_idle_is_told_only_where_it_stands_out_from_the_drift_of_idle() -> None:
    found = cost(window(3.0), window(5.0, 20.0), window(3.1))
    assert found.idle_w == pytest.approx(3.05)
    assert found.net_j == pytest.approx(100 - 3.05 * 20)
    drifted = cost(window(3.0), window(3.5, 20.0), window(3.6))
    assert drifted.net_j is None
    assert "less than twice the 12.00 J" in drifted.why
    assert drifted.gross.joules == 70.0, "what was used is known all the same"
    assert cost(window(None), window(5.0), window(3.0)) == Cost(window(5.0), None, None, "no readings")


def test_the_thread_reads_as_often_as_asked_and_stops() -> None:
    meter = PowerMeter(PowerSource("fake", "all", (Channel("rail", lambda: 2.0),)), rate_hz=100.0)
    begin = time.monotonic()
    meter.start()
    while len(meter.readings) < 30 and time.monotonic() - begin < 10:
        time.sleep(0.01)
    meter.stop()
    count = len(meter.readings)
    energy = meter.energy(meter.readings[0][0], meter.readings[-1][0])
    assert energy.watts == pytest.approx(2.0)
    assert count >= 30
    assert len(meter.readings) == count


# --- A meter of one's own.


def test_a_meters_file_is_read_by_its_columns_and_set_to_the_clock(tmp_path: Path) -> None:
    plain = tmp_path / "watts.csv"
    plain.write_text("Time_s,Watts\n" + "".join(f"{1_700_000_000 + at / 10},{4 + at / 100}\n" for at in range(101)))
    meter = FileMeter(plain, -1_700_000_000 + 50)
    meter.start()
    with plain.open("a") as more:  # as a meter does while we measure
        more.write("".join(f"{1_700_000_010 + at / 10},5\n" for at in range(1, 51)) + "17000000")
    meter.stop()
    assert meter.energy(60.0, 65.0).joules == pytest.approx(25.0)
    assert meter.energy(50.0, 60.0).joules == pytest.approx(45.0)
    product = tmp_path / "va.csv"
    product.write_text("time_s,volts,amps\n" + "".join(f"{at / 10},5.0,0.5\n" for at in range(101)))
    other = FileMeter(product, 0.0)
    other.stop()
    assert other.energy(0.0, 10.0).joules == pytest.approx(25.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n", "no column time_s"),
        ("time_s,volts\n1,2\n", "no column amps"),
        ("time_s,watts\n1,two\n", "line 2 is not all numbers"),
        ("", "no column time_s"),
    ],
)
def test_another_file_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "meter.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        FileMeter(path, 0.0).start()
    with pytest.raises(ConfigError, match="cannot be read"):
        FileMeter(tmp_path / "none.csv", 0.0).start()
