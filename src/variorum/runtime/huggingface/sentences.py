"""Folders of sentence-transformers: an encoder and a pooling. Reimers & Gurevych 2019, arXiv:1908.10084."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Pool, Spec, Tower, VariorumError
from variorum.core.spec import read_json, says_value
from variorum.data.tokenizer import Tokenizer
from variorum.layers.pools.first import FirstToken
from variorum.layers.pools.mean import MeanPool
from variorum.layers.pools.unit import UnitPool
from variorum.runtime.huggingface.folder import load_folder, spec_of

MODULES, SETTINGS = "modules.json", "sentence_bert_config.json"
POOLS: dict[str, Spec[Pool]] = {"mean": MeanPool.spec(), "cls": FirstToken.spec()}
OLD = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


@dataclass(frozen=True)
class Sentences:
    """An encoder whose tokens are pooled to one vector a text.

    dim: width of the vectors.    longest: rows are cut to this many tokens.
    lowercase: of the text, before the tokenizer sees it.
    """

    model: Tower
    tokenizer: Tokenizer
    pool: Pool
    dim: int
    longest: int | None = None
    lowercase: bool = False

    @torch.inference_mode()
    def embed(self, texts: Sequence[str], *, size: int = 32) -> Float[Tensor, "texts dim"]:
        """One vector a text; ``size`` texts at a time go through the model, packed, so that none is padded."""
        found = []
        for first in range(0, len(texts), size):
            some = [text.lower() if self.lowercase else text for text in texts[first : first + size]]
            ids, layout = self.tokenizer.pack(some, longest=self.longest)
            found.append(self.pool(*self.model.hidden(ids, layout)))
        return torch.cat(found) if found else torch.zeros(0, self.dim)


def load_sentences(folder: str | Path) -> Sentences:
    """Read a folder that sentence-transformers wrote; modules or poolings that are not built raise VariorumError."""
    folder = Path(folder)
    loaded = load_folder(folder)
    if loaded.tokenizer is None or not isinstance(loaded.model, Tower):
        raise VariorumError(
            str(folder),
            expected="an encoder of text with its tokenizer",
            found=f"{type(loaded.model).__name__}, tokenizer {loaded.tokenizer}",
            do="Use load_folder.",
        )
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in _read(folder / MODULES, list)]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise VariorumError(
            MODULES,
            expected="Transformer, Pooling and perhaps Normalize",
            found=", ".join(kinds),
            do="Other modules are not built.",
        )
    pool = _pool(folder / _read(folder / MODULES, list)[1]["path"] / "config.json")
    pool = UnitPool.spec(pool=pool) if len(kinds) == 3 else pool
    dim = spec_of(loaded.model)["dim"]
    settings = _read(folder / SETTINGS, dict) if (folder / SETTINGS).is_file() else {}
    return Sentences(
        model=loaded.model,
        tokenizer=loaded.tokenizer,
        pool=pool.build(dim=dim),
        dim=dim,
        longest=settings.get("max_seq_length"),
        lowercase=bool(settings.get("do_lower_case", False)),
    )


def _pool(path: Path) -> Spec[Pool]:
    """The one pooling that the file asks for, by its name or by the flags of older versions."""
    told = _read(path, dict)
    name = told.get("pooling_mode")
    asked = [key for key, value in told.items() if key.startswith("pooling_mode_") and value is True]
    names = [OLD.get(key, key) for key in asked] if name is None else [name]
    if len(names) != 1 or names[0] not in POOLS or told.get("include_prompt", True) is not True:
        raise VariorumError(
            f"{path.parent.name}/config.json",
            expected=f"one pooling of {', '.join(POOLS)}",
            found=says_value(names),
            do="Others are not built.",
        )
    return POOLS[names[0]]


def _read(path: Path, kind: type) -> Any:
    if not path.is_file():
        raise VariorumError(str(path.parent), expected=f"a file {path.name}", found="none", do="Use load_folder.")
    found = read_json(path.read_bytes(), path.name)
    if not isinstance(found, kind):
        raise VariorumError(
            path.name, expected=f"a JSON {kind.__name__}", found=type(found).__name__, do="Save it again."
        )
    return found
