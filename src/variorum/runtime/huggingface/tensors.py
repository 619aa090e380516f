"""Tensors of a checkpoint folder: model.safetensors, whole or in shards. Pickles are refused."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from variorum.core import VariorumError
from variorum.core.spec import read_json

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of the folder by name, in the dtype of the file.

    A shard that is missing, holds what the index does not give it, or lies outside the folder raises VariorumError.
    """
    if (folder / WHOLE).is_file():
        return _modern(_load(folder / WHOLE))
    if (folder / INDEX).is_file():
        return _modern(_read_shards(folder))
    pickles = sorted(p.name for p in folder.glob("*.bin")) + sorted(p.name for p in folder.glob("*.pt"))
    found = f"{pickles[0]}, a pickle: reading it could run any program" if pickles else "neither"
    raise VariorumError(
        str(folder),
        expected=f"{WHOLE} or {INDEX}",
        found=found,
        do="Convert it where you trust it: AutoModel.from_pretrained(folder).save_pretrained(folder) of transformers.",
    )


def write_tensors(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Write model.safetensors; the old file stays whole until the new one is complete."""
    part = folder / f"{WHOLE}.part"
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, part, metadata={"format": "pt"})
    os.replace(part, folder / WHOLE)
    (folder / INDEX).unlink(missing_ok=True)


def _read_shards(folder: Path) -> dict[str, Tensor]:
    index: Any = read_json((folder / INDEX).read_bytes(), INDEX)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not all(isinstance(p, str) and Path(p).name == p for p in places.values()):
        raise VariorumError(
            INDEX,
            expected='a "weight_map" from tensor names to files of this folder',
            found="something else",
            do="Save the checkpoint again.",
        )
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(places.values())):
        held = _load(folder / shard)
        promised = {name for name, place in places.items() if place == shard}
        if held.keys() != promised:
            wrong = ", ".join(sorted(held.keys() ^ promised)[:4])
            raise VariorumError(
                f"shard {shard}",
                expected="exactly the tensors that the index gives it",
                found=f"a difference in {wrong}",
                do="Download or save the checkpoint again.",
            )
        tensors.update(held)
    return tensors


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise VariorumError(
            path.name,
            expected="a whole safetensors file",
            found=str(error),
            do="Download or save the checkpoint again.",
        ) from None


def _modern(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """LayerNorm's tensors by their names of today: checkpoints of 2018 call them gamma and beta."""
    old = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}

    def name(was: str) -> str:
        end = next((o for o in old if was.endswith(o)), "")
        return was.removesuffix(end) + old[end] if end else was

    return {name(was): tensor for was, tensor in tensors.items()}
