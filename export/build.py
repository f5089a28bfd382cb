"""SOURCE -> bundle: finds the recipe, builds the parts beside the target, measures, packs, and moves the whole into place at the end."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import edge
from edge.bundle import Bundle
from edge.errors import BundleError
from edge.hub import take_place
from export import recipes
from export.pack import commit, pack
from export.recipes.recipe import BuildError, Recipe, Work
from export.resume import Kept

NOT_ON_A_DEVICE = ("torch", "transformers", "gguf")
_absent: set[str] = set()
"""Packages without which some recipes could not be read."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """source: a folder, or a name on the hub. recipe "" for the one that fits; encoder, llm "" for the recipe's usual."""

    source: str
    out: Path
    recipe: str = ""
    target: str = "cpu"
    encoder: str = ""
    llm: str = ""
    revision: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


@cache
def all_recipes() -> dict[str, Recipe]:
    """Every recipe by its name; without torch, as on a device, those that take published files as they are."""
    found = {}
    for module in pkgutil.iter_modules(recipes.__path__):
        try:
            recipe = getattr(importlib.import_module(f"{recipes.__name__}.{module.name}"), "RECIPE", None)
        except ImportError as error:
            if error.name not in NOT_ON_A_DEVICE:
                raise
            _absent.add(error.name)
            continue
        if isinstance(recipe, Recipe):
            found[recipe.name] = recipe
    return found


def recipe_for(source: Path, wanted: str = "") -> Recipe:
    """The recipe of that name, or the one for what lies in the folder. Raises: BuildError."""
    known = all_recipes()
    if wanted and wanted not in known:
        raise BuildError(f"there is no recipe {wanted!r} here{_why_few()}; `auricle-export list` names them: {', '.join(sorted(known))}")
    if not source.is_dir():
        raise BuildError(f"{source}: there is no such folder; name the folder of a model, or OWNER/NAME on the hub")
    if wanted:
        recipe = known[wanted]
        if recipe.model_types and _model_type(source) not in recipe.model_types:
            raise BuildError(
                f"{source}: its config.json says model_type {_model_type(source)!r}, but the recipe {wanted} is for "
                f"{', '.join(recipe.model_types)}; leave --recipe out or choose another"
            )
        return recipe
    for recipe in known.values():
        if recipe.suits(source):
            return recipe
    if not (source / "config.json").is_file():
        raise BuildError(f"{source}: it holds no config.json and nothing that a recipe knows; name the folder of a model as hubs carry it")
    kind = _model_type(source)
    for recipe in known.values():
        if kind in recipe.model_types:
            return recipe
    types = sorted(t for r in known.values() for t in r.model_types)
    raise BuildError(f"{source}: no recipe is for model_type {kind!r}{_why_few()}; there are recipes for {', '.join(types) or 'none'}")


def _why_few() -> str:
    return f" (without {', '.join(sorted(_absent))} most cannot be used: pip install 'auricle[export]')" if _absent else ""


def _model_type(source: Path) -> str:
    try:
        found = json.loads((source / "config.json").read_text(encoding="utf-8"))
        return str(found["model_type"])
    except OSError as error:
        raise BuildError(f"{source}: config.json cannot be read ({error.strerror}); name the folder of a model") from None
    except (ValueError, KeyError, TypeError):
        raise BuildError(f"{source}: config.json names no model_type; fetch the model again") from None


def resolve(source: str, revision: str, tell: Callable[[str], None]) -> Path:
    """The folder of a source; a name on the hub is fetched. Raises: BuildError."""
    if Path(source).exists() or not _HUB_NAME.fullmatch(source):
        return Path(source)
    tell(f"fetching {source} from the hub")
    try:
        from huggingface_hub import snapshot_download

        return Path(
            snapshot_download(source, revision=revision or None, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model", "*.onnx"])
        )
    except ImportError:
        raise BuildError(f"{source}: fetching needs huggingface_hub; install it, or name a folder") from None
    except Exception as error:  # network, name, permission: huggingface_hub's errors share no base class
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise BuildError(f"{source}: neither a folder here nor to be had from the hub ({why}); check the name and the network") from None


def build(options: BuildOptions, tell: Callable[[str], None] = print) -> Path:
    """Writes the bundle and returns its folder. Nothing is left half-written. Raises: BuildError, BundleError, OSError."""
    out = options.out
    if out.exists():
        try:
            Bundle.open(out.absolute()).close()
        except BundleError as error:
            raise BuildError(f"{out}: it exists and is no whole bundle ({error}); choose another --out, or remove it") from None
    source = resolve(options.source, options.revision, tell)
    recipe = recipe_for(source, options.recipe)
    encoder, llm = _offered(recipe, "encoder", options.encoder, recipe.encoders), _offered(recipe, "llm", options.llm, recipe.llms)
    _offered(recipe, "target", options.target, recipe.targets)
    tell(f"building {out.name} from {options.source} with the recipe {recipe.name} for {options.target}")
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        fetched = not Path(options.source).exists()  # a snapshot's folder is named after its revision
        origin = {"repository": options.source if fetched else source.resolve().name, "revision": source.name if fetched else "local"}
        chosen = {"recipe": recipe.name, "encoder": encoder, "llm": llm, "target": options.target, **options.options}
        kept = Kept(source, chosen, f"{edge.__version__} {commit()}")
        work = Work(source, part, encoder, llm, origin, options.options, tell, options.target, kept=kept)
        manifest: dict[str, Any] = recipe.make(work)
        manifest.setdefault("name", re.sub(r"[^A-Za-z0-9._+-]", "-", out.name)[:64])
        manifest.setdefault("version", "1.0.0")
        manifest.setdefault("labels", [])
        manifest |= {"created_by": {"recipe": f"export/recipes: {recipe.name}", "commit": commit()}, "receipt": {"figures": work.figures}}
        pack(part, manifest)
        take_place(part, out)
        kept.forget()
    finally:
        shutil.rmtree(part, ignore_errors=True)
    tell(f"the bundle lies in {out}")
    return out


def _offered(recipe: Recipe, what: str, asked: str, offered: tuple[str, ...]) -> str:
    if not asked:
        return offered[0] if offered else ""
    if asked not in offered:
        having = f"it offers {', '.join(offered)}" if offered else "it has no such part"
        raise BuildError(f"the recipe {recipe.name} does not build --{what} {asked}: {having}")
    return asked
