"""What a recipe is and what it works with: a source folder, a folder for the parts, the precisions that were asked for, a receipt."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import EdgeError
from export.resume import Kept

ENCODERS = ("fp32", "int8", "int8-static", "int4")
LLMS = ("f32", "f16", "q8_0", "q4_k_m")
TARGETS = ("cpu", "pi5", "jetson", "ethos-u55", "ethos-u65", "ethos-u85", "rk3588")


class BuildError(EdgeError):
    """A bundle cannot be built: the sentence names the source, the cause and the remedy."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a part may lose at most: max_abs of its values against the reference, cosine of its rows."""

    max_abs: float = np.inf
    cosine: float = -1.0


LIMITS = {
    "fp32": Limit(max_abs=1e-4),
    "fp16": Limit(cosine=0.9999),
    "int8": Limit(cosine=0.998),
    "int8-static": Limit(cosine=0.99),
    "int4": Limit(cosine=0.97),
}
"""Of encoder rows, by precision. Over the limit there is no bundle."""
RUNS = 3
"""Of what is timed."""
LOGIT_LIMIT = 1e-3
"""Of a float language model's or decoder's logits."""


@dataclass
class Work:
    """One build. origin: repository and revision of the weights. figures: the receipt so far. tell: one line of progress."""

    source: Path
    folder: Path
    encoder: str
    llm: str
    origin: Mapping[str, str]
    options: Mapping[str, str]
    tell: Callable[[str], None]
    target: str = "cpu"
    figures: list[dict[str, Any]] = field(default_factory=list)
    losses: list[tuple[str, float]] = field(default_factory=list)
    kept: Kept | None = None

    def step(self, path: Path, make: Callable[[], object]) -> None:
        """A long step that writes `path`, unless the same build was interrupted behind it."""
        if self.kept is None:
            make()
        else:
            self.kept.step(path, make, self.tell)

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json of the source. Raises: BuildError."""
        return self.json("config.json")

    def json(self, name: str, optional: bool = False) -> dict[str, Any]:
        """A JSON object of the source; {} where it is optional and absent. Raises: BuildError."""
        path = self.source / name
        if optional and not path.is_file():
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BuildError(
                f"{self.source}: {name} cannot be read ({error.strerror}); name the folder of a model as hubs carry it"
            ) from None
        except ValueError as error:
            raise BuildError(f"{path}: it is not JSON ({error}); fetch the model again") from None
        if not isinstance(found, dict):
            raise BuildError(f"{path}: it holds no object; fetch the model again")
        return found

    @cached_property
    def _scratch(self) -> TemporaryDirectory[str]:
        return TemporaryDirectory(prefix="auricle-")

    @property
    def scratch(self) -> Path:
        """A folder for what is needed on the way; it goes with this object."""
        return Path(self._scratch.name)

    @property
    def name(self) -> str:
        """What the model is called: the last part of its repository."""
        return self.origin["repository"].rpartition("/")[2]

    @property
    def licence(self) -> str:
        return self.options.get("licence", "see the source")

    def setting(self, name: str) -> Any:
        """A value of config.json that there must be. Raises: BuildError."""
        if self.config.get(name) is None:
            raise BuildError(f"{self.source}: its config.json names no {name}; fetch the model again")
        return self.config[name]

    def load(self, kind: Any) -> Any:
        """The reference model of a transformers class, in float, for reading. Raises: BuildError."""
        import torch

        self.tell("reading the weights")
        try:
            return kind.from_pretrained(self.source, dtype=torch.float32, attn_implementation="eager").eval()
        except (KeyboardInterrupt, MemoryError):
            raise
        except Exception as error:  # transformers' and safetensors' errors share no base class
            why = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise BuildError(f"{self.source}: transformers cannot read its weights ({why}); fetch the model again") from error

    def need(self, what: str, *patterns: str) -> None:
        """Raises BuildError unless the source has a file of one of these patterns."""
        if not any(next(self.source.glob(pattern), None) for pattern in patterns):
            raise BuildError(f"{self.source}: it has no {what}; fetch the whole repository")

    def measured(self, name: str, value: float, unit: str, data: str, n: int, origin: str = "synthetic") -> None:
        """One figure of the receipt."""
        self.figures.append({"name": name, "value": float(value), "unit": unit, "data": data, "origin": origin, "n": n})
        self.tell(f"  {name}: {value:.6g} {unit} ({data})")

    def timed(self, what: str, run: Callable[[], object], parts: float, of: str = "a second of sound") -> None:
        """Notes how long a run takes on this machine, one thread, for each of its parts: the median of RUNS behind one that warms up."""
        run()
        spent = []
        for _ in range(RUNS):
            begin = time.perf_counter()
            run()
            spent.append(1000 * (time.perf_counter() - begin))
        self.measured(f"{what} for {of}", float(np.median(spent)) / parts, "ms", f"{RUNS} runs, one thread of {platform.machine()}", RUNS)

    def layers(self, losses: Sequence[tuple[str, float]]) -> None:
        """Notes the layers that lose most, which a refusal will name. losses: (layer, fall of the cosine), the worst first."""
        self.losses = list(losses)
        for name, fall in losses:
            self.measured(f"loss of cosine in {name}", fall, "", "from the layer's input to its output", 1)

    def rows(self, what: str, precision: str, found: list[NDArray[Any]], wanted: list[NDArray[Any]], data: str) -> None:
        """Compares a part's rows with the reference's, notes both figures and refuses what is over the limit. Raises: BuildError."""
        worst = max(float(np.abs(f - w).max()) for f, w in zip(found, wanted, strict=True))
        least = min(cosine(f, w) for f, w in zip(found, wanted, strict=True))
        self.measured(f"{what} max abs", worst, "", data, len(found))
        self.measured(f"{what} cosine", least, "", data, len(found))
        limit = LIMITS[precision]
        if not (worst <= limit.max_abs and least >= limit.cosine):
            most = f"; {', '.join(name for name, _ in self.losses)} lose most" if self.losses else ""
            raise BuildError(
                f"{what} in {precision} is too far from the reference (max abs {worst:.3g}, cosine {least:.5f}; the limit is "
                f"{limit.max_abs:.3g} and {limit.cosine}{most}); choose --encoder fp32"
            )


def cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Mean cosine of rows [..., D]; 1 for rows that are both zero."""
    x, y = (v.reshape(-1, v.shape[-1]).astype(np.float64) for v in (a, b))
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return float(np.mean(np.where(norms > 0, (x * y).sum(axis=1) / np.maximum(norms, 1e-30), 1.0)))


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model family. model_types: of config.json, () where there is none. encoders, llms: precisions it offers, the first is usual.

    make: writes the parts into work.folder and returns the manifest without `schema` and receipt.
    """

    name: str
    about: str
    model_types: tuple[str, ...]
    encoders: tuple[str, ...]
    llms: tuple[str, ...]
    targets: tuple[str, ...]
    make: Callable[[Work], dict[str, Any]]
    suits: Callable[[Path], bool] = lambda path: False
    """Whether a folder is one of its own, whatever its config.json says."""
