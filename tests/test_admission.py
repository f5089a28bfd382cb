"""What does not fit is refused before it is loaded, and what is refused is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import line_bundle
import pytest

from edge.admission import Room, admit, needed, room
from edge.bundle import Bundle
from edge.config import Config
from edge.errors import BackendError
from edge.gate import GateOptions
from edge.listener import Listener
from edge.pipeline import Line

MEMINFO = "MemTotal:        8000000 kB\nMemFree:          100000 kB\nMemAvailable:    3000000 kB\n"


def machine(root: Path, own: str = "", **limits: tuple[str, str]) -> Path:
    """A tree of proc and sys. limits: by the name of the control group, its memory.max and memory.current."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(MEMINFO)
    (root / "proc/self/cgroup").write_text(f"0::/{own}\n")
    for group, (most, current) in limits.items():
        folder = root / "sys/fs/cgroup" / ("" if group == "top" else group)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(most + "\n")
        (folder / "memory.current").write_text(current + "\n")
    return root


def test_room_is_the_least_of_the_machine_and_its_control_groups(tmp_path: Path) -> None:
    assert room(machine(tmp_path / "a")) == Room(3_000_000 * 1024, "free on this machine")
    limited = machine(tmp_path / "b", "system/auricle", top=("max", "5"), system=("900000000", "100000000"))
    assert room(limited) == Room(800_000_000, "left of the limit of the control group /system")
    over = machine(tmp_path / "c", "auricle", auricle=("1000", "5000"))
    assert room(over) == Room(0, "left of the limit of the control group /auricle")
    root = machine(tmp_path / "d", "", top=("1000", "900"))
    assert room(root) == Room(100, "left of the limit of the control group /")
    (root / "sys/fs/cgroup/memory.stat").write_text("anon 100\nactive_file 50\ninactive_file 700\n")
    assert room(root) == Room(800, "left of the limit of the control group /"), "what was read of files is given up"
    assert room(tmp_path / "nothing") is None, "a system that tells neither refuses nothing"


def test_a_bundle_that_does_not_fit_is_refused_with_figures_and_a_remedy(tmp_path: Path) -> None:
    bundle = Bundle.open("starter")
    tight = machine(tmp_path / "a", "auricle", auricle=("64000000", "50000000"))
    with pytest.raises(BackendError, match=r"starter: about \d+ MB .* 14 MB are left of the limit .*/auricle; take a smaller .* memory_mb"):
        admit([bundle], root=tight)
    admit([bundle], budget_mb=500, root=tight)
    with pytest.raises(BackendError, match=r"20 MB are granted by memory_mb; .* raise memory_mb"):
        admit([bundle], budget_mb=20)
    with pytest.raises(BackendError, match="granted by memory_mb"):
        Line(bundle, Config(memory_mb=20))
    admit([bundle], root=tmp_path / "nothing")


def test_a_second_context_is_asked_for_too(tmp_path: Path) -> None:
    bundle = Bundle.open("starter")
    need_mb = needed([bundle]) / 1e6
    with pytest.raises(BackendError, match=r"about \d+ MB .* granted by memory_mb"):
        admit([bundle], int(need_mb) + 1, again=True)
    admit([bundle], int(need_mb) + 1)
    for left, fits in ((1_000_000, False), (10_000_000, True)):
        root = machine(tmp_path / str(left), "auricle", auricle=(str(left), "0"))
        if fits:
            assert left < need_mb * 1e6, "the weights are there already"
            admit([bundle], root=root, again=True)
        else:
            with pytest.raises(BackendError, match="1 MB are left"):
                admit([bundle], root=root, again=True)
    with Listener(config=Config(memory_mb=int(need_mb) + 1)) as listener:
        list(listener.listen("edge/data/demo_scene.flac"))
        with pytest.raises(BackendError, match="granted by memory_mb"):
            listener.ask("What is heard?", last_s=300.0)


def test_the_estimate_is_near_what_the_models_take() -> None:
    """Resident memory of a process before and after; a factor of two is what the estimate promises."""
    program = (
        "import sys, numpy\nfrom edge.bundle import Bundle\nfrom edge.pipeline import Line\nfrom edge.config import Config\n"
        "def resident(): return 4096 * int(open('/proc/self/statm').read().split()[1])\n"
        "bundle = Bundle.open('starter'); before = resident(); line = Line(bundle, Config(memory_mb=10_000)); print(resident() - before)"
    )
    taken = int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
    assert taken / 2 < needed([Bundle.open("starter")]) < 2 * taken


def test_keys_and_values_of_a_longer_context_are_counted(tmp_path: Path) -> None:
    short, long = (Bundle.open(line_bundle.make(tmp_path / str(context), caption=caption(context))) for context in (512, 4096))
    layers, width = line_bundle.LAYERS, line_bundle.WIDTH
    # F32 keys and values; logits are those of one batch, however long the context is.
    assert needed([long]) - needed([short]) >= 2 * 4 * (4096 - 512) * layers * width * 0.99


def caption(context: int) -> dict[str, object]:
    return {**line_bundle.description()["caption"], "context": context}


def test_turns_are_cut_where_the_context_ends_and_it_is_said(tmp_path: Path) -> None:
    """Else what follows in the turn would go unheard."""
    bundle = Bundle.open("starter")
    line = Line(bundle, Config(gate=GateOptions(max_turn_s=60.0)))
    assert line.options.gate.max_turn_s == pytest.approx(50.88)
    assert line.notices == ["turns are cut at 50.9 s: more does not fit into the context of bundle starter"]
    line.close()
    usual = Line(bundle)
    assert (usual.options.gate.max_turn_s, usual.notices) == (30.0, [])
    usual.close()


def test_more_threads_than_cores_are_noticed() -> None:
    line = Line(Bundle.open("starter"), Config(threads=64))
    assert "64 threads share" in line.notices[0]
    line.close()
