"""Run by scripts/check_wheel.sh with the interpreter of an environment that holds nothing but the wheel.

Usage: python check_wheel.py CHECKOUT WHEEL
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path


def main(checkout: Path, wheel: Path) -> None:
    """Raises AssertionError or CalledProcessError with the reason when the wheel lacks something a user needs."""
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = ["edge/py.typed", "edge/data/silero/silero_vad_16k_sequence.onnx"]
    wanted += ["edge/data/silero/LICENSE", *_tracked(checkout)]
    missing = sorted(set(wanted) - names)
    assert not missing, f"the wheel lacks {missing}"
    assert sum(name.startswith("edge/_native.") and name.endswith(".so") for name in names) == 1, "the wheel must hold one native module"
    strangers = sorted(name for name in names if not name.startswith(("edge/", "export/", "auricle-")))
    assert not strangers, f"the wheel holds {strangers}"

    import edge
    import edge._native

    site = Path(sysconfig.get_path("purelib")).resolve()
    for module in (edge, edge._native):
        assert site in Path(str(module.__file__)).resolve().parents, (
            f"{module.__name__} was imported from {module.__file__}, not from the wheel"
        )

    # From here on the third-party packages of the development environment are lent.
    lent = next((checkout / ".venv" / "lib").glob("python3*/site-packages"))
    (site / "lent.pth").write_text(f"{lent}\n", encoding="utf-8")
    auricle = Path(sys.executable).parent / "auricle"
    version = subprocess.run([auricle, "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert edge.__version__ in version, f"auricle --version says {version!r}"
    lines = subprocess.run(
        [auricle, "caption", "--format", "jsonl", "demo_scene.flac"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    assert '"caption"' in lines, f"the demo scene got no caption: {lines[:400]}"
    print(f"auricle: the wheel is whole ({len(names)} files, {wheel.stat().st_size / 1e6:.1f} MB) and works on its own")


def _tracked(checkout: Path) -> list[str]:
    """What the repository holds of the two packages: all of it belongs into the wheel."""
    listing = subprocess.run(["git", "-C", checkout, "ls-files", "edge", "export"], check=True, capture_output=True, text=True).stdout
    return listing.splitlines()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
