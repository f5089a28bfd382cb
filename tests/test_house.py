"""The house's own laws: who may import whom, how long a file may be, what must not be committed, what the README promises."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest

import edge

ROOT = Path(__file__).resolve().parent.parent

# Top to bottom; each floor: room -> its files. A file imports from its own room and from floors below, never sideways or up.
FLOORS: list[dict[str, set[str]]] = [
    {"package": {"__init__", "__main__"}},
    {"cli": {"cli", "commands"}},
    {"doctor": {"doctor"}},
    {"bridge": {"bridge"}},
    {"listener": {"listener"}, "serve": {"serve"}, "bench": {"bench"}},
    {"pipeline": {"pipeline", "ahead", "telling", "wall_clock", "recall"}},
    {"config": {"config", "profiles"}},
    {
        "capture": {"capture", "microphone", "audio_file", "door", "devices", "device_stream", "dead_signal", "pulse"},
        "vad": {"vad"},
        "gate": {"gate", "speech"},
        "encoder": {"encoder", "windows", "whole"},
        "sounds": {"sounds"},
        "captioner": {"captioner", "ask", "thought", "time_line"}
        | {"transcriber", "seq2seq", "guards", "speech_prompt", "beam", "word_times", "growing"},
        "memory": {"memory"},
        "admission": {"admission"},
        "reader": {"pace", "priority"},
        "sinks": {"sinks"},
    },
    {
        "ring": {"ring"},
        "bundle": {"bundle", "archive", "manifest", "prescan", "table", "catalogue", "hub"},
        "backends": {"backends"},
        "level": {"level"},
        "power": {"power", "meter_file"},
        "features": {"features"},
    },
    {"types": {"types"}, "errors": {"errors"}, "gguf_header": {"gguf_header"}, "_native": {"_native"}},
]
FLOOR_OF = {file: depth for depth, floor in enumerate(FLOORS) for files in floor.values() for file in files}
ROOM_OF = {file: room for floor in FLOORS for room, files in floor.items() for file in files}
RUNTIMES = {"onnxruntime", "ai_edge_litert", "tflite_runtime", "llama_cpp", "tensorflow"}
TRAINING = {"torch", "torchaudio", "transformers", "silero_vad", "export"}


@cache
def tracked() -> tuple[Path, ...]:
    """Files under version control, as paths from the root."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return tuple(Path(name) for name in listing.split("\0") if name and (ROOT / name).is_file())


def python_files(*packages: str) -> list[Path]:
    """Python files of the packages, whether committed yet or not, as paths from the root."""
    return sorted(path.relative_to(ROOT) for package in packages for path in (ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything the file imports, inside functions too; `if TYPE_CHECKING` blocks only name types."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively: write the whole name"
            # `from edge import archive` imports a module, `from edge.types import Turn` a name: keep both parts.
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def file_of(module: str) -> str | None:
    """The file or folder directly under edge/ that a dotted name means; None for other packages."""
    parts = module.split(".")
    if parts[0] != "edge":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in FLOOR_OF else "__init__"


def test_every_file_of_the_runtime_has_a_room() -> None:
    homeless = {path.parts[1].removesuffix(".py") for path in python_files("edge")} - set(FLOOR_OF)
    assert not homeless - {"bundles", "data"}, f"name the room of {sorted(homeless)} in FLOORS"


def test_imports_go_down_only() -> None:
    wrong = []
    for path in python_files("edge"):
        here = path.parts[1].removesuffix(".py")
        if here == "__init__" or here not in FLOOR_OF:  # the package's own file names what it offers; the homeless have their own test
            continue
        for line, module in imports(path):
            there = file_of(module)
            if there is None or ROOM_OF[there] == ROOM_OF[here] or FLOOR_OF[there] > FLOOR_OF[here]:
                continue
            if there == "__init__" and module == "edge.__version__":
                continue
            wrong.append(f"{path}:{line} {ROOM_OF[here]} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_only_backends_import_a_model_runtime() -> None:
    wrong = [
        f"{path}:{line} imports {module}"
        for path in python_files("edge")
        if path.parts[1] != "backends"
        for line, module in imports(path)
        if module.split(".")[0] in RUNTIMES
    ]
    assert not wrong, "\n".join(wrong)


def test_a_backend_imports_one_runtime() -> None:
    for path in python_files("edge"):
        if path.parts[1] == "backends":
            families = {module.split(".")[0] for _, module in imports(path)} & RUNTIMES
            families = {"litert" if family in ("ai_edge_litert", "tflite_runtime", "tensorflow") else family for family in families}
            assert len(families) <= 1, f"{path} imports {sorted(families)}"


def test_the_runtime_never_imports_training() -> None:
    wrong = [
        f"{path}:{line} imports {module}"
        for path in python_files("edge")
        for line, module in imports(path)
        if module.split(".")[0] in TRAINING
    ]
    assert not wrong, "\n".join(wrong)


def test_torch_is_not_in_the_runtime_environment() -> None:
    for lock in ("runtime.txt", "build.txt", "dev.txt"):
        names = re.findall(r"^([\w.-]+)==", (ROOT / "requirements" / lock).read_text(encoding="utf-8"), re.MULTILINE)
        assert names, f"requirements/{lock} pins nothing"
        assert not {"torch", "transformers", "tensorflow", "silero-vad"} & set(names), f"requirements/{lock} brings training libraries"


def test_every_pin_is_exact_and_hashed_and_names_no_place() -> None:
    for lock in ("runtime.txt", "build.txt", "dev.txt", "export.txt", "silero.txt"):
        text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
        entries = re.split(r"\n(?=\S)", re.sub(r"^#.*\n(\s*#.*\n)*", "", text, flags=re.MULTILINE).strip())
        for entry in entries:
            assert re.match(r"[\w.\[\]-]+==[\w.]+", entry), f"requirements/{lock}: {entry.splitlines()[0]} is not pinned"
            assert "--hash=sha256:" in entry, f"requirements/{lock}: {entry.splitlines()[0]} has no hash"
        assert not re.search(r"--(extra-)?index-url|--find-links|://|file:", text), f"requirements/{lock} names a place"


def test_a_lock_holds_everything_of_the_one_before_it() -> None:
    """So `make test` after `make demo` only adds."""
    pins = [
        set(re.findall(r"^([\w.-]+==\S+)", (ROOT / "requirements" / lock).read_text(encoding="utf-8"), re.MULTILINE))
        for lock in ("runtime.txt", "build.txt", "dev.txt")
    ]
    assert pins[0] < pins[1] < pins[2]


def test_importing_the_package_loads_no_model_runtime() -> None:
    code = "import sys, edge, edge.types, edge.errors; print([name for name in sys.argv[1:] if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code, *RUNTIMES, *TRAINING], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_a_file_is_readable_in_one_sitting() -> None:
    lengths = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in python_files("edge", "export")}
    long = {str(path): lines for path, lines in lengths.items() if lines > 300}
    assert not long, f"longer than 300 lines: {long}"


def test_names_say_what_a_thing_is() -> None:
    empty = re.compile(r"(Manager|Handler|Helper|Utils?|Base)$|^(manager|handler|helpers?|utils?|base|misc|common)$")
    wrong = [str(path) for path in python_files("edge", "export") if empty.search(path.stem)]
    for path in python_files("edge", "export"):
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        wrong += [
            f"{path}:{node.lineno} {node.name}" for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and empty.search(node.name)
        ]
    assert not wrong, "\n".join(wrong)


def test_every_public_thing_of_the_runtime_is_explained() -> None:
    silent = []
    for path in python_files("edge"):
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        if tree.body and not ast.get_docstring(tree):
            silent.append(f"{path} has no first sentence")
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_") and not ast.get_docstring(node):
                silent.append(f"{path}:{node.lineno} {node.name}")
    assert not silent, "\n".join(silent)


def test_no_path_of_one_machine_is_committed() -> None:
    place = re.compile(r"(?<![\w.$}*])/(root|home|work|Users|tmp/tmp)/[\w.]|" + re.escape(f"{ROOT}/"))
    wrong = []
    for path in tracked():
        try:
            text = (ROOT / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        wrong += [f"{path}:{number} {line.strip()[:120]}" for number, line in enumerate(text.splitlines(), 1) if place.search(line)]
    assert not wrong, "\n".join(wrong)


def test_the_repository_holds_no_weights_but_the_starters() -> None:
    weights = [str(path) for path in tracked() if path.suffix in {".onnx", ".gguf", ".tflite", ".pt", ".safetensors", ".jit"}]
    # Random instances: two exported by optimum (whose graphs are most of the bytes), one quantized to int8.
    random = [path for path in weights if path.startswith(("tests/golden/published_", "tests/golden/dense.int8.tflite"))]
    assert sum((ROOT / path).stat().st_size for path in random) <= 1_200_000
    assert not [path for path in weights if not path.startswith("edge/bundles/starter/") and path not in random]
    starter = sum((ROOT / path).stat().st_size for path in tracked() if path.as_posix().startswith("edge/bundles/starter/"))
    assert starter <= 20_000_000, f"the starter bundle weighs {starter / 1e6:.1f} MB, more than 20"


def test_the_version_stands_in_one_place() -> None:
    assert version("auricle") == edge.__version__
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = text[text.index("[project]") : text.index("[project.optional-dependencies]")]
    assert not re.search(r"^version\s*=", project, re.MULTILINE), "pyproject.toml must take the version from edge/__init__.py"
    elsewhere = [
        str(path)
        for path in python_files("edge", "export")
        if re.search(r"^__version__\s*=", (ROOT / path).read_text(encoding="utf-8"), re.M)
    ]
    assert elsewhere == ["edge/__init__.py"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == edge.__version__, "CHANGELOG.md must open with the present version"


def readme_snippets() -> list[str]:
    readme = ROOT / "README.md"
    return re.findall(r"^```python\n(.*?)^```", readme.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE) if readme.exists() else []


@pytest.mark.parametrize("snippet", readme_snippets())
def test_the_readme_runs(snippet: str, tmp_path: Path) -> None:
    """Runs as it stands in a folder that holds the file it names, the first ten seconds of the demo scene as kitchen.wav."""
    import soundfile

    samples, rate = soundfile.read(ROOT / "edge" / "data" / "demo_scene.flac", dtype="float32")
    soundfile.write(tmp_path / "kitchen.wav", samples[: 10 * rate], rate)
    run = subprocess.run(
        [sys.executable, "-c", snippet],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr


def test_the_figures_of_the_readme_are_those_of_the_results() -> None:
    done = subprocess.run([sys.executable, "benchmarks/table.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
