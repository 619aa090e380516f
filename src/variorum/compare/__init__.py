"""Floor 7: candidates trained under one budget, measured alike and told apart: budgets, studies, Pareto, the report."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from variorum.compare.results import Results, compare

__all__ = ["Results", "compare"]


def __getattr__(name: str) -> Any:
    # Not imported at once: whoever imports a part of this floor need not wait for all of it.
    if name in __all__:
        return getattr(import_module("variorum.compare.results"), name)
    raise AttributeError(f"module 'variorum.compare' has no attribute {name!r}")
