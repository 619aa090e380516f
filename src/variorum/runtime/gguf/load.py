"""A GGUF file read as a model of ours."""

from pathlib import Path

import torch

from variorum.core import VariorumError
from variorum.runtime.gguf.architecture import find_architecture, part_of
from variorum.runtime.gguf.container import Container, open_gguf
from variorum.runtime.gguf.licence import check_accepted, read_licence
from variorum.runtime.gguf.metadata import Metadata
from variorum.runtime.gguf.vocabulary import read_vocabulary
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.family import find_family
from variorum.runtime.huggingface.folder import Loaded, fill, shapes_of


def load_gguf(path: str | Path, *, accept: str | None = None, dtype: torch.dtype = torch.float32) -> Loaded:
    """Model, tokenizer and config.json of a GGUF file, its blocks multiplied out to ``dtype``.

    The architectures are those of :func:`~variorum.runtime.gguf.architecture.architectures`.    accept: the name of
    the licence that the file declares, where it is no open-source licence: the error without it shows the licence.
    What the file holds that is not mapped, or asks that is not built, raises VariorumError.
    """
    held = open_gguf(path)
    check_accepted(read_licence(held.metadata), accept)
    return read_model(held, dtype=dtype)


def read_model(held: Container, *, dtype: torch.dtype = torch.float32) -> Loaded:
    """What ``load_gguf`` gives, of an open file whose licence is settled."""
    _check_whole(held)
    architecture = find_architecture(held.metadata.get("general.architecture"))
    told = Metadata(architecture.name, held.metadata)
    config = architecture.to_config(told, held.tensors)
    told.close(architecture.harmless)
    family = find_family(config["model_type"])
    spec = family.to_spec(Config(config))
    theirs = {
        architecture.rename(name): architecture.value(part_of(name), stored.dense(), config).to(dtype).contiguous()
        for name, stored in held.tensors.items()
        if name not in architecture.unused
    }
    tensors = family.naming(spec).to_ours(theirs, shapes_of(spec))
    model = spec.build()
    fill(model, tensors)
    licence = read_licence(held.metadata)
    return Loaded(model.eval(), read_vocabulary(held.metadata), config, str(licence) if licence else None)


def _check_whole(held: Container) -> None:
    """Refuse a file that is only a part of a model, or something else than one."""
    parts, kind = held.metadata.get("split.count", 1), held.metadata.get("general.type", "model")
    if parts not in (0, 1):
        raise VariorumError(held.path.name, expected="a whole model", found=f"one of {parts} parts",
                            do="Join them first: llama-gguf-split --merge.")  # fmt: skip
    if kind != "model":
        raise VariorumError(held.path.name, expected="a model", found=repr(kind)[:80],
                            do="Name the file that holds the model itself.")  # fmt: skip
