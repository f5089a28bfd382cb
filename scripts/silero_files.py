"""Puts Silero's voice activity model beside the code, from the pinned silero-vad package, each byte checked.

Usage: python scripts/silero_files.py      does nothing when the files are there and right.

Installed as a package silero-vad needs torch; its ONNX files do not. So pip only downloads the wheel (its hash is
checked against requirements/silero.txt), and two files are taken out of it: the model and the MIT licence.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "edge" / "data" / "silero"
MEMBERS = {
    # member of the wheel: sha256
    "silero_vad/data/silero_vad_16k_sequence.onnx": "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
    "silero_vad-6.2.3.dist-info/licenses/LICENSE": "2e63e9a38b6e8fc0c7bc37ce174caca1862870856c6daf5697cfb785e925520b",
}


def present(target: Path = TARGET) -> bool:
    """True when every file lies in `target` with the hash expected."""
    return all(_sha256_of(target / Path(member).name) == sha256 for member, sha256 in MEMBERS.items())


def fetch(target: Path = TARGET) -> None:
    """Downloads the pinned wheel with pip and extracts the files into `target`; does nothing when they are there.

    Raises: RuntimeError naming the file and the remedy when the download fails or a hash differs.
    """
    if present(target):
        return
    print("auricle: fetching the Silero VAD model (a package of 11 MB, once)", file=sys.stderr)
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-qq", "--no-deps", "--only-binary", ":all:"]
        command += ["--require-hashes", "--dest", work, "--requirement", str(ROOT / "requirements" / "silero.txt")]
        if subprocess.run(command, stdin=subprocess.DEVNULL).returncode != 0:
            raise RuntimeError(
                "silero-vad could not be downloaded by pip (see above): connect to a package index once, then run this again"
            )
        wheel = next(Path(work).glob("*.whl"))
        target.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            for member, sha256 in MEMBERS.items():
                _write_checked(target / Path(member).name, archive.read(member), sha256)


def _write_checked(path: Path, content: bytes, sha256: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise RuntimeError(f"{path.name} has sha256 {found}, expected {sha256}: the package was replaced; do not use it")
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)  # atomic: an interrupted run leaves no half model behind


def _sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


if __name__ == "__main__":
    try:
        fetch()
    except RuntimeError as error:
        sys.exit(f"auricle: {error}")
