"""auricle's runtime: a device that hears. `from edge import Listener` is the whole way in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.listener import Listener

__all__ = ["Listener", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Lazy, so that `import edge` for a version or a type costs no model runtime.
    if name == "Listener":
        from edge.listener import Listener

        return Listener
    raise AttributeError(f"module 'edge' has no attribute {name!r}")
