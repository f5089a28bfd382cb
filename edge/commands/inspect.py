"""`auricle inspect`: what is inside a bundle that passed every check."""

from __future__ import annotations

import argparse
import json
import textwrap

from edge.admission import needed
from edge.bundle import Bundle
from edge.commands import DONE
from edge.commands.stdout import say
from edge.manifest import Manifest


def run(arguments: argparse.Namespace) -> int:
    """Prints a page, or with --json the manifest and where it lies; with --providers how its models are placed.

    Raises: BundleError naming what is wrong.
    """
    bundle = Bundle.open(arguments.bundle)
    try:
        total = sum(model.size_bytes for model in bundle.manifest.models)
        lines: list[str] = []
        if arguments.providers:
            from edge.config import load

            lines = placed(bundle, load(flags={"providers": arguments.providers}).providers_asked())
        if arguments.json:
            told = {"path": str(bundle.path), "bytes": total, "memory_bytes": needed([bundle]), "manifest": bundle.manifest.raw}
            say(json.dumps(told | ({"placement": lines} if lines else {}), ensure_ascii=False, indent=1))
        else:
            say("\n".join([*page(bundle.manifest, str(bundle.path), total, needed([bundle])), *lines]))
    finally:
        bundle.close()
    return DONE


def placed(bundle: Bundle, providers: tuple[str, ...]) -> list[str]:
    """Loads each ONNX model there: nodes by provider, median time of a run, and what is not as it was asked for. Raises: BackendError."""
    from edge.backends.onnx import OnnxModel

    lines = [f"placement, asked for {', '.join(providers)}"]
    for model in (m for m in bundle.manifest.models if m.runtime == "onnx"):
        loaded = OnnxModel.load(bundle.read(model.role, "onnx"), f"bundle {bundle.name}: {model.role}", 1, providers, strict=False)
        place = loaded.placement
        nodes = ", ".join(f"{count} nodes on {name}" for name, count in place.nodes.items()) or f"on {place.used[0]}"
        ms = loaded.milliseconds()
        lines.append(f"  {model.role:<11} {nodes}" + ("" if ms is None else f"; {ms:.2f} ms a run"))
        lines += [f"    but       {short}" for short in place.shortfalls()]
    return lines


def page(manifest: Manifest, path: str, total_bytes: int, memory_bytes: int) -> list[str]:
    """The lines for a person."""
    origin = ", ".join(f"{key} {value}" for key, value in manifest.created_by.items())
    lines = [
        f"{manifest.name} {manifest.version} (schema {manifest.schema}), {manifest.licence}, {total_bytes / 1e6:.2f} MB",
        f"  lies in     {path}",
        f"  made by     {origin}",
        f"  memory      about {memory_bytes / 1e6:.0f} MB for its models and what runs them",
        "models, every size and hash checked",
    ]
    for model in manifest.models:
        source = ", ".join(f"{key} {value}" for key, value in model.source.items())
        lines.append(f"  {model.role:<11} {model.file}  {model.runtime} {model.precision}  {model.size_bytes / 1e6:.2f} MB  from {source}")
        lines += [f"    in        {tensor.name} {tensor.dtype} {_shape(tensor.shape)}" for tensor in model.inputs]
        lines += [f"    out       {tensor.name} {tensor.dtype} {_shape(tensor.shape)}" for tensor in model.outputs]
    lines.append(f"labels, {len(manifest.labels)}")
    lines += textwrap.wrap("; ".join(manifest.labels), 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    lines.append(f"receipt, {len(manifest.receipt)} figures")
    lines += [
        f"  {figure.name}: {figure.value:g}{' ' * bool(figure.unit)}{figure.unit} ({figure.data}, {figure.origin}, n = {figure.n})"
        for figure in manifest.receipt
    ]
    if manifest.card:
        lines += ["card", *("  " + "".join(c if c.isprintable() else " " for c in line) for line in manifest.card.splitlines())]
    return lines


def _shape(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("?" if n is None else str(n) for n in shape) + "]"
