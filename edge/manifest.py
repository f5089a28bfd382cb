"""What manifest.json of a bundle may say: bounded, checked by hand, frozen. Schema 1 is described in docs/bundle.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge.errors import BundleError
from edge.table import Table, load, short

SCHEMA = 1
FILE_NAME = "manifest.json"
RUNTIMES = ("onnx", "tflite", "gguf", "rknn", "tokenizer")
ORIGINS = ("real", "synthetic", "mixed")

# Bounds: a manifest is written by a stranger. The starter's is about 10 kB; 527 AudioSet labels make 30 kB.
MANIFEST_BYTES = 1 << 20
MODELS = 32
LABELS = 4_096
FIGURES = 1_024
MODEL_BYTES = 1 << 40

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,95}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model. shape: None where the size is free."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """One model file. source: repository + revision, or recipe + commit."""

    role: str
    runtime: str
    file: str
    size_bytes: int
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    precision: str
    source: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure of the receipt: `value` `unit`, over `n` items of `data`, which are real, synthetic or mixed."""

    name: str
    value: float
    unit: str
    data: str
    origin: str
    n: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that passed every check of its own; the files it lists are checked by `edge.bundle`."""

    schema: int
    name: str
    version: str
    licence: str
    created_by: Mapping[str, str]
    models: tuple[Model, ...]
    labels: tuple[str, ...]
    front_end: Table
    encoder: Table
    sounds: Table
    caption: Table
    receipt: tuple[Figure, ...]
    card: str
    raw: Mapping[str, Any] = field(repr=False, compare=False)


def parse(data: bytes, where: str) -> Manifest:
    """Manifest from the bytes of manifest.json. where: the bundle, for messages. Raises BundleError naming the first fault."""
    if len(data) > MANIFEST_BYTES:
        raise BundleError(
            f"{where}: {FILE_NAME} has {len(data)} bytes, more than {MANIFEST_BYTES} allowed; this is not a bundle of auricle's"
        )
    raw = load(data, f"{where}: {FILE_NAME}")
    top = Table(raw, where)
    schema = top.integer("schema", 1, 2**31)
    if schema > SCHEMA:
        raise BundleError(f"{where}: its schema is {schema}, but this auricle reads up to {SCHEMA}; update auricle")
    labels = top.items_of("labels", str, 0, LABELS)
    if len(set(labels)) != len(labels) or not all(label.strip() and label.isprintable() and len(label) <= 128 for label in labels):
        top.refuse("labels", "different printable names of 1 to 128 characters")
    return Manifest(
        schema=schema,
        name=top.text("name", pattern=_NAME),
        version=top.text("version", pattern=_NAME),
        licence=_line(top, "licence"),
        created_by=_texts(top.table("created_by")),
        models=_models(top, where),
        labels=labels,
        front_end=top.table("front_end", {}),
        encoder=top.table("encoder", {}),
        sounds=top.table("sounds", {}),
        caption=top.table("caption", {}),
        receipt=tuple(_figure(item) for item in top.table("receipt").items_of("figures", Table, 0, FIGURES)),
        card=top.text("card", default="", empty=True),
        raw=raw,
    )


def plain_name(name: str, where: str) -> str:
    """Returns `name` if it can only mean a file directly inside the bundle, else raises BundleError."""
    if "\0" in name or "/" in name or "\\" in name or name.startswith(".") or ":" in name:
        raise BundleError(f"{where}: the path {short(name)} leaves the bundle's folder or hides in it; only plain file names are accepted")
    if not _FILE.fullmatch(name):
        raise BundleError(f"{where}: the file name {short(name)} is not plain (letters, digits, . _ + -, at most 96); rename the file")
    return name


def _models(top: Table, where: str) -> tuple[Model, ...]:
    models = tuple(_model(item, where) for item in top.items_of("models", Table, 1, MODELS))
    files, roles = [model.file.casefold() for model in models], [(model.role, model.runtime) for model in models]
    for model in models:
        if files.count(model.file.casefold()) > 1 or model.file.casefold() == FILE_NAME:
            raise BundleError(f"{where}: the file {model.file} is listed twice; list each file once")
        if roles.count((model.role, model.runtime)) > 1:
            raise BundleError(f"{where}: the role {model.role!r} is given to two {model.runtime} models; give each role once")
    return models


def _model(item: Table, where: str) -> Model:
    return Model(
        role=item.text("role", pattern=_NAME),
        runtime=item.choice("runtime", RUNTIMES),
        file=plain_name(item.text("file"), where),
        size_bytes=item.integer("bytes", 1, MODEL_BYTES),
        sha256=item.text("sha256", pattern=_SHA256),
        inputs=tuple(_tensor(spec) for spec in item.items_of("inputs", Table, 0, 256)),
        outputs=tuple(_tensor(spec) for spec in item.items_of("outputs", Table, 0, 256)),
        precision=_line(item, "precision"),
        source=_texts(item.table("source")),
    )


def _tensor(spec: Table) -> TensorSpec:
    shape = spec.get("shape")
    if not isinstance(shape, tuple) or len(shape) > 8 or not all(n is None or (type(n) is int and 0 <= n < 2**31) for n in shape):
        spec.refuse("shape", "an array of at most 8 whole numbers (null where free)")
    return TensorSpec(_line(spec, "name"), spec.text("dtype", pattern=_NAME), shape)


def _figure(item: Table) -> Figure:
    return Figure(
        name=_line(item, "name"),
        value=item.number("value"),
        unit=item.text("unit", empty=True),
        data=_line(item, "data"),
        origin=item.choice("origin", ORIGINS),
        n=item.integer("n", 0, 2**53),
    )


def _line(table: Table, key: str) -> str:
    value = table.text(key)
    if not value.isprintable() or len(value) > 256:
        table.refuse(key, "one printable line of at most 256 characters")
    return value


def _texts(table: Table) -> Mapping[str, str]:
    if not table:
        raise BundleError(f"{table.where} is empty, but must say where this came from; repair the manifest")
    return {key: _line(table, key) for key in table}
