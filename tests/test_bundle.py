"""The bundle: accepted whole or refused with one sentence, before any model parser runs."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import onnx
import pytest
import tiny_bundle
from onnx import TensorProto, external_data_helper, helper

from edge import manifest, prescan
from edge.bundle import Bundle
from edge.errors import BundleError
from edge.table import Table
from export.pack import pack, pack_tar, put_in_place

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_bundle.make(tmp_path / "tiny")


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))


def first_model(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder, lambda raw: raw["models"][0].update(changes))


def top(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder, lambda raw: raw.update(changes))


def again(folder: Path) -> None:
    edit(folder, lambda raw: raw["models"].append({**raw["models"][0], "role": "other"}))


def replace_by_link(folder: Path) -> None:
    (folder / "encoder.onnx").rename(folder.parent / "elsewhere.onnx")
    (folder / "encoder.onnx").symlink_to(folder.parent / "elsewhere.onnx")


def replace_by_pipe(folder: Path) -> None:
    (folder / "encoder.onnx").unlink()
    os.mkfifo(folder / "encoder.onnx")


def change_a_byte(folder: Path) -> None:
    data = bytearray((folder / "encoder.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "encoder.onnx").write_bytes(data)


def manifest_text(text: str | bytes) -> Callable[[Path], None]:
    data = text.encode() if isinstance(text, str) else text
    return lambda folder: (folder / "manifest.json").write_bytes(data) and None


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "file missing": (lambda f: (f / "encoder.onnx").unlink(), "encoder.onnx is missing"),
    "file extra": (lambda f: (f / "notes.txt").write_text("x"), "'notes.txt' is not listed"),
    "hidden file": (lambda f: (f / ".cache").write_text("x"), "'.cache' is not listed"),
    "folder extra": (lambda f: (f / "more").mkdir(), "'more' is not a plain file"),
    "file longer": (lambda f: (f / "encoder.onnx").open("ab").write(b"x"), "encoder.onnx has .* bytes instead of"),
    "file empty": (lambda f: (f / "encoder.onnx").write_bytes(b""), "encoder.onnx has 0 bytes instead of"),
    "one bit": (change_a_byte, "encoder.onnx is damaged"),
    "symbolic link": (replace_by_link, "'encoder.onnx' is a symbolic link"),
    "pipe": (replace_by_pipe, "'encoder.onnx' is not a plain file"),
    "manifest missing": (lambda f: (f / "manifest.json").unlink(), "manifest.json is missing"),
    "manifest empty": (manifest_text(""), "manifest.json cannot be read"),
    "manifest not an object": (manifest_text("[]"), "not an object"),
    "manifest not UTF-8": (manifest_text(b"\xff\xfe{}"), "cannot be read"),
    "manifest nested": (manifest_text('{"a":' * 5000 + "1" + "}" * 5000), "nested deeper"),
    "manifest huge": (manifest_text(" " * (manifest.MANIFEST_BYTES + 1)), "bytes, more than"),
    "manifest of many values": (manifest_text('{"a":[' + "0," * 60_000 + "0]}"), "more than 50000 values"),
    "manifest with NaN": (manifest_text('{"schema": NaN}'), "NaN is not JSON"),
    "manifest with infinity by exponent": (manifest_text('{"schema": 1e999}'), "out of range"),
    "manifest with a huge number": (manifest_text('{"schema": ' + "9" * 5000 + "}"), "cannot be read"),
    "key twice": (manifest_text('{"schema": 1, "schema": 2}'), "names a key twice"),
    "lone surrogate": (manifest_text('{"schema": 1, "name": "\\ud800"}'), "cannot be read"),
    "schema newer": (top(schema=2), "its schema is 2"),
    "schema a word": (top(schema="1"), "'schema' is '1'"),
    "schema true": (top(schema=True), "'schema' is True"),
    "name with a sequence": (top(name="\x1b[2J"), "'name' is '.x1b"),
    "models none": (top(models=[]), "'models' is \\(\\)"),
    "labels doubled": (top(labels=["Bark", "Bark"]), "'labels' is"),
    "label with a line break": (top(labels=["Bark\n"]), "'labels' is"),
    "front end a list": (top(front_end=[]), "'front_end' is \\(\\)"),
    "origin unknown": (
        lambda f: edit(f, lambda raw: raw["receipt"]["figures"][0].pop("origin")),
        r"receipt.figures\[0\]: 'origin' is missing",
    ),
    "path upward": (first_model(file="../encoder.onnx"), "'../encoder.onnx' leaves the bundle's folder"),
    "path absolute": (first_model(file="/etc/passwd"), "'/etc/passwd' leaves the bundle's folder"),
    "path with backslash": (first_model(file="..\\encoder.onnx"), "leaves the bundle's folder"),
    "path with a drive": (first_model(file="C:encoder.onnx"), "leaves the bundle's folder"),
    "path with NUL": (first_model(file="encoder.onnx\0.txt"), "leaves the bundle's folder"),
    "path in a folder": (first_model(file="a/encoder.onnx"), "leaves the bundle's folder"),
    "path of dots": (first_model(file=".."), "leaves the bundle's folder"),
    "path too long": (first_model(file="a" * 200), "is not plain"),
    "file listed twice": (again, "encoder.onnx is listed twice"),
    "manifest listed": (first_model(file="manifest.json"), "manifest.json is listed twice"),
    "runtime unknown": (first_model(runtime="pickle"), "'runtime' is 'pickle'"),
    "bytes negative": (first_model(bytes=-1), "'bytes' is -1"),
    "bytes a fraction": (first_model(bytes=1.5), "'bytes' is 1.5"),
    "hash in capitals": (first_model(sha256="A" * 64), "'sha256' is"),
    "hash of another": (first_model(sha256="0" * 64), "encoder.onnx is damaged"),
    "shape of words": (first_model(inputs=[{"name": "x", "dtype": "float32", "shape": ["T"]}]), "'shape' is"),
    "source empty": (first_model(source={}), "must say where this came from"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_folder_is_refused_and_the_message_names_the_fault(folder: Path, fault: str) -> None:
    Bundle.open(folder).close()
    inject, message = FAULTS[fault]
    inject(folder)
    before = time.process_time()
    with pytest.raises(BundleError, match=message) as refusal:
        Bundle.open(folder)
    assert time.process_time() - before < 1.0
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_every_truncation_and_every_flipped_bit_of_a_model_is_refused(folder: Path) -> None:
    path = folder / "encoder.onnx"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(BundleError, match=r"encoder\.onnx"):
            Bundle.open(folder)
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(BundleError, match=r"encoder\.onnx"):
            Bundle.open(folder)


def test_every_truncation_of_the_manifest_is_refused_and_no_flipped_bit_does_worse(folder: Path) -> None:
    path = folder / "manifest.json"
    whole = path.read_bytes()
    wanted = Bundle.open(folder).read("encoder")
    for length in range(len(whole) - 1):  # without its last byte, a line break, it says the same
        path.write_bytes(whole[:length])
        with pytest.raises(BundleError):
            Bundle.open(folder)
    for at in range(len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        path.write_bytes(flipped)
        try:
            bundle = Bundle.open(folder)
        except BundleError:
            continue
        assert bundle.manifest.models[0].sha256 == json.loads(whole)["models"][0]["sha256"]
        if bundle.has("encoder"):
            assert bundle.read("encoder") == wanted


def test_what_changes_after_opening_is_not_handed_to_a_parser(folder: Path) -> None:
    bundle = Bundle.open(folder)
    change_a_byte(folder)
    with pytest.raises(BundleError, match="changed while it was in use"):
        bundle.read("encoder")


def test_no_model_runtime_is_imported_to_open_or_refuse_a_bundle(folder: Path) -> None:
    program = "import sys; from edge.bundle import Bundle; Bundle.open(sys.argv[1]).read('encoder'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True, check=True)
    assert not {"onnxruntime", "llama_cpp", "numpy", "onnx", "ai_edge_litert"} & set(done.stdout.split())


def test_a_name_or_path_that_is_no_bundle_is_named_in_the_refusal(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("this is not a tar" * 100)
    (tmp_path / "empty.tar").write_bytes(b"")
    for path, message in [
        ("", "no path"),
        ("no-such-bundle", "no-such-bundle"),
        ("a\0b", "no path"),
        (tmp_path / "none", "No such file"),
        (tmp_path / "text.tar", "is not a tar"),
        (tmp_path / "empty.tar", "is not a tar"),
        ("/dev/zero", "neither a folder nor a file"),
        (tmp_path, "is not listed|is missing"),
    ]:
        with pytest.raises(BundleError, match=message):
            Bundle.open(path)


# Tar


def test_a_bundle_packed_as_tar_by_any_program_is_the_same_bundle(folder: Path) -> None:
    wanted, parent = Bundle.open(folder), folder.parent
    pack_tar(folder, parent / "ours.tar")
    subprocess.run(["tar", "cf", "gnu.tar", "tiny"], cwd=parent, check=True)
    subprocess.run(["tar", "cf", "dot.tar", "-C", "tiny", "."], cwd=parent, check=True)
    subprocess.run(["tar", "--format=pax", "-cf", "pax.tar", "tiny"], cwd=parent, check=True)
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(parent / f"python{form}.tar", "w:", format=form) as archive:
            archive.add(folder, "tiny")
    tars = sorted(parent.glob("*.tar"))
    assert len(tars) == 7
    for tar in tars:
        bundle = Bundle.open(tar)
        assert bundle.manifest == wanted.manifest
        assert bundle.read("encoder") == wanted.read("encoder")
        laid_out = bundle.file("encoder")
        assert laid_out.read_bytes() == wanted.read("encoder")
        bundle.close()
        assert not laid_out.exists()


def test_packing_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    other = tiny_bundle.make(tmp_path / "copy")
    os.utime(other / "encoder.onnx", (1, 1))
    assert (other / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()
    for at in (folder, other):
        pack_tar(at, at.with_suffix(".tar"))
    assert folder.with_suffix(".tar").read_bytes() == other.with_suffix(".tar").read_bytes()


def test_packing_something_that_would_be_refused_leaves_the_old_manifest(folder: Path) -> None:
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(BundleError):
        pack(folder, tiny_bundle.description(labels=["a", "a"]))
    (folder / "extra").write_text("x")
    with pytest.raises(BundleError):
        pack(folder, tiny_bundle.description(version="2.0.0"))
    assert (folder / "manifest.json").read_bytes() == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["tiny"]


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


TAR_FAULTS: dict[str, tuple[tuple[tarfile.TarInfo, bytes], str]] = {
    "symbolic link": (member("extra", kind=tarfile.SYMTYPE, linkname="/etc/passwd"), "'extra' is a symbolic link"),
    "hard link": (member("extra", kind=tarfile.LNKTYPE, linkname="encoder.onnx"), "'extra' is a hard link"),
    "device": (member("extra", kind=tarfile.CHRTYPE), "'extra' is a device"),
    "pipe": (member("extra", kind=tarfile.FIFOTYPE), "'extra' is a pipe"),
    "sparse": (member("extra", kind=tarfile.GNUTYPE_SPARSE), "'extra' is a sparse file"),
    "absolute name": (member("/extra", b"x"), "leaves the bundle's folder"),
    "upward name": (member("../extra", b"x"), "leaves the bundle's folder"),
    "name in a folder": (member("deep/extra", b"x"), "leaves the bundle's folder"),
    "doubled member": (member("encoder.onnx", b"x"), "encoder.onnx is in the tar twice"),
    "unlisted member": (member("extra", b"x"), "'extra' is not listed"),
    "long name": (member("e" * 200, b"x"), "is not a plain file"),
}


@pytest.mark.parametrize("fault", TAR_FAULTS)
def test_a_tar_with_anything_but_plain_listed_files_is_refused(folder: Path, fault: str) -> None:
    (info, data), message = TAR_FAULTS[fault]
    tar = folder.parent / "bad.tar"
    pack_tar(folder, tar)
    with tarfile.open(tar, "a:", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(data))
    with pytest.raises(BundleError, match=message):
        Bundle.open(tar)


def test_a_pax_header_that_renames_or_resizes_is_refused(folder: Path) -> None:
    for key, value in [("path", "../escape"), ("size", "99999999999"), ("linkpath", "/etc/passwd"), ("GNU.sparse.major", "1")]:
        tar = folder.parent / "pax.tar"
        with tarfile.open(tar, "w:", format=tarfile.PAX_FORMAT) as archive:
            info = archive.gettarinfo(folder / "encoder.onnx", "encoder.onnx")
            info.pax_headers = {key: value}
            archive.addfile(info, (folder / "encoder.onnx").open("rb"))
            archive.add(folder / "manifest.json", "manifest.json")
        with pytest.raises(BundleError, match="pax header changes the"):
            Bundle.open(tar)


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_compressed_tar_is_refused_with_the_remedy(folder: Path, kind: Any) -> None:
    with tarfile.open(folder.parent / "bundle.tar", f"w:{kind}") as archive:
        archive.add(folder, "tiny")
    with pytest.raises(BundleError, match=r"is compressed .* unpack it"):
        Bundle.open(folder.parent / "bundle.tar")


def test_a_damaged_tar_is_refused_or_gives_the_true_bytes(folder: Path) -> None:
    tar = folder.parent / "bundle.tar"
    pack_tar(folder, tar)
    whole, wanted = tar.read_bytes(), Bundle.open(folder).read("encoder")
    for length in range(0, len(whole), 64):
        tar.write_bytes(whole[:length])
        # Cut inside the padding at its end, a tar still holds everything; it must then also say what it said.
        try:
            assert Bundle.open(tar).read("encoder") == wanted
            assert not any(whole[length - 1024 :])
        except BundleError:
            pass
    chance = random.Random(1)
    for _ in range(1000):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(4096)] = chance.randrange(256)
        tar.write_bytes(damaged)
        try:
            bundle = Bundle.open(tar)
        except BundleError:
            continue
        if bundle.has("encoder"):
            assert bundle.read("encoder") == wanted
        bundle.close()
    tar.write_bytes(whole + b"more")
    with pytest.raises(BundleError, match="does not end as a tar ends"):
        Bundle.open(tar)


# Models whose hash is right


def relist(folder: Path, file: str, runtime: str) -> None:
    """Packs without opening, as a stranger would who wants the model to be parsed."""
    model = {**tiny_bundle.description()["models"][0], "file": file, "runtime": runtime}
    shutil.move(folder / "encoder.onnx", folder.parent / "encoder.onnx")
    import hashlib

    data = (folder / file).read_bytes()
    edit(folder, lambda raw: raw.update(models=[{**model, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}]))


def gguf_bytes(path: Path) -> bytes:
    """A small file by the format's own library."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "c"])
    writer.add_array("numbers", [1, 2, 3])
    writer.add_tensor("token_embd.weight", np.ones((3, 32), np.float32))
    writer.add_tensor("output.weight", np.ones((4, 32), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def put(data: bytes, position: int, layout: str, *values: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(layout, changed, position, *values)
    return bytes(changed)


def test_a_gguf_is_accepted_and_one_with_impossible_counts_is_refused(tmp_path: Path) -> None:
    good = gguf_bytes(tmp_path / "good.gguf")
    prescan.scan("gguf", good, len(good))
    tokens = good.index(b"tokenizer.ggml.tokens") + len(b"tokenizer.ggml.tokens")
    tensor = good.index(b"token_embd.weight") + len(b"token_embd.weight")
    bad = {
        "not a GGUF": b"GGUX" + good[4:],
        "version": put(good, 4, "<I", 9),
        "tensors and": put(good, 8, "<Q", 2**63),
        "keys, more": put(good, 16, "<Q", 2**63),
        "text of": put(good, 24, "<Q", 2**64 - 1),
        "array of": put(good, tokens + 8, "<Q", 2**63),
        "values of type 9": put(good, tokens + 4, "<I", 9),
        "unknown type": put(good, tokens, "<I", 77),
        "dimensions": put(good, tensor, "<I", 2**31),
        "values at offset": put(good, tensor + 4, "<QQ", 2**40, 2**40),
        "outside the file": put(good, tensor + 4, "<QQ", 32, 2**20),
        "cut off|outside|longer|text of": good[: len(good) // 2],
    }
    for message, data in bad.items():
        with pytest.raises(prescan.Unsafe, match=message):
            prescan.scan("gguf", data, len(data))
    for length in range(len(good) - 1):
        with pytest.raises(prescan.Unsafe):
            prescan.scan("gguf", good[:length], length)


def test_damage_to_a_gguf_header_never_costs_more_than_a_refusal(tmp_path: Path) -> None:
    good = gguf_bytes(tmp_path / "good.gguf")
    chance = random.Random(2)
    before = time.process_time()
    for _ in range(3000):
        damaged = bytearray(good)
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(len(good) - 600)] = chance.choice([0, 1, 127, 255, chance.randrange(256)])
        try:
            prescan.scan("gguf", bytes(damaged), len(damaged))
        except prescan.Unsafe:
            continue
    assert time.process_time() - before < 60


def test_a_bundle_with_a_poisoned_gguf_is_refused_by_name_whatever_its_hash(folder: Path, tmp_path: Path) -> None:
    (folder / "lm.gguf").write_bytes(put(gguf_bytes(tmp_path / "x.gguf"), 8, "<Q", 2**63))
    relist(folder, "lm.gguf", "gguf")
    with pytest.raises(BundleError, match=r"lm\.gguf is refused because it claims 9223372036854775808 tensors"):
        Bundle.open(folder)


def with_external_data(model: onnx.ModelProto) -> onnx.ModelProto:
    for tensor in external_data_helper._get_all_tensors(model):
        tensor.raw_data = np.ones(64, np.float32).tobytes()
        external_data_helper.set_external_data(tensor, "../../etc/passwd")
        tensor.ClearField("raw_data")
    return model


def onnx_with_tensor_in(place: str) -> onnx.ModelProto:
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [64], np.ones(64, np.float32).tobytes(), raw=True)
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [64])
    inner = helper.make_graph([helper.make_node("Constant", [], ["y"], value=tensor)], "inner", [], [out])
    if place == "initializer":
        graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [out], [tensor])
    elif place == "constant":
        graph = inner
    else:
        condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
        branch = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
        graph = helper.make_graph([branch], "g", [condition], [out])
    return helper.make_model(graph)


@pytest.mark.parametrize("place", ["initializer", "constant", "branch"])
def test_an_onnx_that_reads_another_file_is_refused_whatever_its_hash(folder: Path, place: str) -> None:
    model = onnx_with_tensor_in(place)
    good = model.SerializeToString()
    prescan.scan("onnx", good, len(good))
    (folder / "bad.onnx").write_bytes(with_external_data(model).SerializeToString())
    relist(folder, "bad.onnx", "onnx")
    with pytest.raises(BundleError, match=r"bad\.onnx is refused because it keeps a tensor in another file"):
        Bundle.open(folder)


@pytest.mark.parametrize("runtime", ["onnx", "tflite", "gguf"])
def test_what_is_not_of_its_runtime_is_refused(runtime: str) -> None:
    for data in (b"", b"\0" * 100, b"hello world, hello world", bytes(range(256)), b"\x0a" * 1000, b"ORTM" * 20, b"\xff" * 64):
        with pytest.raises(prescan.Unsafe):
            prescan.scan(runtime, data, len(data))


def test_the_models_that_ship_pass_the_scan() -> None:
    shipped = sorted((ROOT / "edge").rglob("*.onnx")) + sorted((ROOT / "edge").rglob("*.gguf"))
    assert shipped, "run scripts/setup.sh first: Silero's files are absent"
    for path in shipped:
        data = path.read_bytes()
        prescan.scan(path.suffix[1:], data, len(data))


# Reading


def test_a_table_gives_values_of_the_asked_type_and_range_only() -> None:
    table = Table({"n": 3, "x": 0.5, "t": "word", "yes": True, "list": [1, 2.5], "in": {"deep": [1]}}, "bundle b: sounds")
    assert (table.integer("n", 1, 5), table.number("x", 0, 1), table.text("t"), table.flag("yes")) == (3, 0.5, "word", True)
    assert table.items_of("list", float, 1, 2) == (1.0, 2.5)
    assert table.table("in").items_of("deep", int, 1, 1) == (1,)
    assert table.number("absent", 0, 1, default=0.25) == 0.25
    for ask in (
        lambda: table.integer("n", 4, 5),
        lambda: table.integer("x", 0, 1),
        lambda: table.integer("yes", 0, 1),
        lambda: table.number("t"),
        lambda: table.flag("n"),
        lambda: table.text("n"),
        lambda: table.choice("t", ("a", "b")),
        lambda: table.items_of("list", int, 1, 2),
        lambda: table.items_of("list", float, 3, 4),
        lambda: table.table("n"),
        lambda: table.number("absent", 0, 1),
    ):
        with pytest.raises(BundleError, match="bundle b: sounds"):
            ask()
    with pytest.raises(BundleError, match=r"bundle b: sounds\.in: 'deep'"):
        table.table("in").text("deep")


def test_unknown_keys_of_the_manifest_are_ignored(folder: Path) -> None:
    edit(folder, lambda raw: raw.update(future={"anything": [1, 2]}))
    edit(folder, lambda raw: raw["models"][0].update(future=1))
    assert Bundle.open(folder).name == "tiny"


def test_asking_for_a_role_that_is_not_there_names_it(folder: Path) -> None:
    bundle = Bundle.open(folder)
    assert (bundle.model("encoder").file, bundle.model("encoder", "onnx").role, bundle.has("captioner")) == (
        "encoder.onnx",
        "encoder",
        False,
    )
    with pytest.raises(BundleError, match="no captioner"):
        bundle.model("captioner")
    with pytest.raises(BundleError, match="no encoder for tflite"):
        bundle.model("encoder", "tflite")


def test_the_example_of_the_documentation_is_a_valid_manifest() -> None:
    text = (ROOT / "docs" / "bundle.md").read_text()
    example = text.split("```json\n")[1].split("```")[0].replace("…64 hex digits…", "0" * 64)
    assert manifest.parse(example.encode(), "bundle docs").name == "starter"


def test_a_bundle_takes_anothers_place_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, out = tmp_path / "new", tmp_path / "bundles" / "starter"
    new.mkdir()
    (new / "manifest.json").write_text("new")
    put_in_place(new, out)
    (out / "left-over").write_text("of before")
    put_in_place(new, out)
    assert [file.name for file in out.iterdir()] == ["manifest.json"]

    def killed(source: Path, target: Path) -> None:
        target.mkdir()
        (target / "manifest.json").write_text("half of it")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copytree", killed)
        with pytest.raises(KeyboardInterrupt):
            put_in_place(new, out)
    assert (out / "manifest.json").read_text() == "new"
    put_in_place(new, out)
    assert [file.name for file in out.parent.iterdir()] == ["starter"]
