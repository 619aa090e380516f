"""The one ledger of known failures: which part breaks which check, why, and what would lift it."""

import json
from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Known(NamedTuple):
    """A known failure. lifted_by: what has to happen for it to be struck out."""

    part: str
    check: str
    reason: str
    lifted_by: str


@cache
def ledger() -> dict[tuple[str, str], Known]:
    """All known failures by part and check."""
    found = json.loads((files("variorum.testing") / "ledger.json").read_text("utf-8"))
    return {(known["part"], known["check"]): Known(**known) for known in found}
