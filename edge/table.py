"""JSON that a stranger wrote: bounded before and after parsing, then read key by key with type and range."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from edge.errors import BundleError

DEPTH = 12
VALUES = 50_000
TEXT_CHARACTERS = 65_536

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


class Table(Mapping[str, Any]):
    """One JSON object of a manifest, read-only, whose values are asked for with their type and range.

    Objects inside are Tables, arrays are tuples. Every accessor raises BundleError that names the bundle and the key; a `default`
    makes a key optional.
    """

    __slots__ = ("_values", "where")

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.where = where
        inside = where + ("." if ": " in where else ": ")
        self._values = {key: _frozen(value, inside + key) for key, value in values.items()}

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Table({self._values!r})"

    def refuse(self, key: str, wanted: str) -> NoReturn:
        """Raises BundleError: `key` is absent or not `wanted`."""
        found = f"is {short(self._values[key])}" if key in self._values else "is missing"
        raise BundleError(f"{self.where}: {key!r} {found}, but must be {wanted}; repair the manifest or fetch the bundle again")

    def number(self, key: str, low: float = -math.inf, high: float = math.inf, default: float | None = None) -> float:
        value = self._values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            self.refuse(key, f"a number{_range(low, high)}")
        return float(value)

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self._values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.refuse(key, f"a whole number{_range(low, high)}")
        return value

    def text(self, key: str, default: str | None = None, pattern: re.Pattern[str] | None = None, empty: bool = False) -> str:
        value = self._values.get(key, default)
        if not isinstance(value, str) or (not value and not empty) or (pattern and not pattern.fullmatch(value)):
            self.refuse(key, f"text like {pattern.pattern}" if pattern else "text")
        return value

    def flag(self, key: str, default: bool | None = None) -> bool:
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            self.refuse(key, "true or false")
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        value = self._values.get(key, default)
        if value not in choices or not isinstance(value, str):
            self.refuse(key, "one of " + ", ".join(choices))
        return value

    def table(self, key: str, default: Mapping[str, Any] | None = None) -> Table:
        value = self._values.get(key)
        if value is None and default is not None:
            return Table(default, f"{self.where}.{key}")
        if not isinstance(value, Table):
            self.refuse(key, "an object")
        return value

    def items_of(self, key: str, kind: type, least: int, most: int) -> tuple[Any, ...]:
        """The array at `key`: `least` to `most` values, each a `kind` (Table, str, int or float; a float may be written as an int)."""
        value = self._values.get(key)
        kinds = (int, float) if kind is float else (kind,)
        if not isinstance(value, tuple) or not least <= len(value) <= most:
            self.refuse(key, f"an array of {least} to {most} values")
        if any(isinstance(item, bool) or not isinstance(item, kinds) for item in value):
            self.refuse(key, f"an array of {'objects' if kind is Table else kind.__name__} only")
        return tuple(float(item) for item in value) if kind is float else value


def load(data: bytes, where: str) -> dict[str, Any]:
    """The object that `data` holds, as plain dicts and lists. where: what is read, for messages. Raises BundleError."""
    try:
        text = data.decode("utf-8")
        # The depth is bounded before the parser recurses.
        if _depth(text) > DEPTH:
            raise ValueError(f"nested deeper than {DEPTH}")
        raw = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        if not isinstance(raw, dict):
            raise ValueError("not an object")
        _bound(raw)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where} cannot be read ({error}); fetch the bundle again") from None
    return raw


def _depth(text: str) -> int:
    depth = deepest = 0
    for bracket in re.findall(r"[\[{}\]]", _STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object names a key twice")
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _bound(root: Any) -> None:
    """Raises ValueError unless the whole tree holds few, small and finite values that can be written as UTF-8."""
    pending, seen = [root], 0
    while pending:
        value = pending.pop()
        seen += 1
        if seen > VALUES:
            raise ValueError(f"more than {VALUES} values")
        if isinstance(value, dict):
            pending.extend(value)
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, str):
            value.encode("utf-8")
            if len(value) > TEXT_CHARACTERS:
                raise ValueError(f"a text longer than {TEXT_CHARACTERS} characters")
        elif isinstance(value, (int, float)) and not -(2.0**53) <= value <= 2.0**53:
            raise ValueError("a number out of range")


def _frozen(value: Any, where: str) -> Any:
    if isinstance(value, (dict, Table)):
        return Table(value, where)
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(item, f"{where}[{i}]") for i, item in enumerate(value))
    return value


def _range(low: float, high: float) -> str:
    return "" if (low, high) == (-math.inf, math.inf) else f" from {low:g} to {high:g}"


def short(value: Any) -> str:
    """`value` for a message: escaped, at most 60 characters."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
