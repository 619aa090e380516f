"""The checkpoint that a training's folder holds, and whether it is one of the same training."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from variorum.core import Spec, VariorumError, diff
from variorum.train.checkpoint import ELSEWHERE, Checkpoint

FILE = "checkpoint.safetensors"


class Kept:
    """Where a training is kept; nowhere without a folder.

    identity: the plain JSON values that a checkpoint of the same training has too: spec, recipe and seed.
    """

    def __init__(self, folder: Path | None, identity: dict[str, Any]) -> None:
        self.path = folder / FILE if folder is not None else None
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))

    def write(self, record: dict[str, Any], groups: dict[str, dict[str, Tensor]]) -> None:
        """Replace what is kept by a record and groups of tensors."""
        assert self.path is not None, "there is a folder to write to"
        named = {f"{kind}/{name}": tensor for kind, group in groups.items() for name, tensor in group.items()}
        Checkpoint({**self.identity, **record}, named).write(self.path)

    def read(self) -> Checkpoint | None:
        """What is kept, None if there is nothing. That of another training raises :class:`VariorumError`."""
        if self.path is None or not self.path.exists():
            return None
        found = Checkpoint.read(self.path)
        self._check_same(found.record)
        return found

    @property
    def says(self) -> str:
        """Where to go on from, in words."""
        return f"{self.path} holds it: run again to go on from there" if self.path else (
            "it had no folder, so nothing is kept")  # fmt: skip

    def _check_same(self, record: dict[str, Any]) -> None:
        other = next((key for key in self.identity if record.get(key) != self.identity[key]), None)
        if other is None:
            return
        found = str(record.get(other))
        if other != "seed":
            changes = diff(Spec.from_dict(self.identity[other]), Spec.from_dict(record.get(other)))
            found = "; ".join(str(change) for change in changes[:4])
        raise VariorumError(f"checkpoint {self.path}", expected=f"a training with this {other}",
                            found=f"another: {found}"[:400], do=ELSEWHERE)  # fmt: skip
