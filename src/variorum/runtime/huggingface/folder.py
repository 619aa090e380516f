"""A checkpoint folder read as a model of ours, and written back so that transformers reads it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from variorum.core import Skeleton, Spec, VariorumError
from variorum.core.spec import read_json
from variorum.data.tokenizer import Tokenizer
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.family import Family, family_of, find_family
from variorum.runtime.huggingface.tensors import read_tensors, write_tensors
from variorum.runtime.huggingface.tokenizers import read_tokenizer, write_tokenizer

CONFIG = "config.json"


@dataclass(frozen=True)
class Loaded:
    """What a folder holds: the model in eval mode, its tokenizer (None: the folder has none), and its config.json.

    licence: of the weights, where a file declares it.
    """

    model: Skeleton
    tokenizer: Tokenizer | None
    config: Mapping[str, Any]
    licence: str | None = None

    def save(self, folder: str | Path) -> None:
        """Write all of it to a folder."""
        save_folder(self.model, folder, tokenizer=self.tokenizer, config=self.config)


def load_folder(folder: str | Path) -> Loaded:
    """Read a folder written by transformers' ``save_pretrained``: weights and tokenizer, bit for bit.

    The families are those of :func:`~variorum.runtime.huggingface.family.families`. Pickled weights, a setting that
    would change the model and is not built, and every tensor that is not mapped raise VariorumError.
    """
    folder = Path(folder)
    config = read_config(folder)
    family = find_family(str(config.get("model_type")))
    reader = Config(config)
    spec = family.to_spec(reader)
    reader.close(family.harmless)
    tensors = family.naming(spec).to_ours(read_tensors(folder), shapes_of(spec))
    model = spec.build()
    fill(model, tensors)
    return Loaded(model.eval(), read_tokenizer(folder), config)


def save_folder(
    model: nn.Module,
    folder: str | Path,
    *,
    tokenizer: Tokenizer | None = None,
    config: Mapping[str, Any] | None = None,
    model_type: str | None = None,
) -> None:
    """Write config.json, model.safetensors and the tokenizer's files as AutoModel and AutoTokenizer read them.

    config: what to write beside what the model's shape tells (names of classes, ids of special tokens, ...), as in
    ``load_folder(...).config``.    model_type: the family, where several write the model's shape alike.
    A model that was not built from a Spec, was altered since, or has no family's shape raises VariorumError.
    """
    spec = spec_of(model)
    named = model_type or (str(config["model_type"]) if config and "model_type" in config else None)
    family = find_family(named) if named else family_of(spec)
    ours = tensors_of(model)
    written = config_of(family, spec, config or {}, next(iter(ours.values())).dtype)
    _unaltered(ours, spec)
    tensors = family.naming(spec).to_theirs(ours)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(tensors, folder)
    (folder / CONFIG).write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    if tokenizer is not None:
        write_tokenizer(tokenizer, folder)


def spec_of(model: nn.Module) -> Spec[Any]:
    """The Spec that a model was built from; one that was not built from a Spec raises VariorumError."""
    spec = model.__dict__.get("built_from")
    if not isinstance(spec, Spec):
        raise VariorumError(
            "model", expected="one built from a Spec", found=type(model).__name__, do="Use spec.build()."
        )
    return spec


def config_of(family: Family, spec: Spec[Skeleton], config: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """config.json of a Spec: ``config`` as it is if it describes the Spec, else with what the Spec says put over it."""
    told = {"model_type": family.model_type, **family.to_config(spec)}
    same = bool(config) and family.to_spec(Config(config)) == spec
    written = {**config, **({} if same else told)}
    if family.to_spec(Config(written)) != spec:
        raise VariorumError(
            "model",
            expected=f"the shape of family {family.model_type!r}",
            found=f"another: {spec}"[:400],
            do="Write it with the family it was read with, or save a bundle instead.",
        )
    written.pop("torch_dtype", None)
    return written | {"dtype": str(dtype).removeprefix("torch.")}


def _unaltered(ours: Mapping[str, Tensor], spec: Spec[Any]) -> None:
    """Raise VariorumError if a model no longer has the tensors that its Spec builds."""
    built = shapes_of(spec)
    changed = [name for name in built.keys() | ours.keys() if name not in ours or built.get(name) != ours[name].shape]
    if changed:
        raise VariorumError(
            "model",
            expected="the tensors that its Spec builds",
            found=f"others, such as {min(changed)}",
            do="Save a bundle instead: config.json could not describe it.",
        )


def read_config(folder: Path) -> dict[str, Any]:
    """config.json as strict JSON."""
    path = folder / CONFIG
    if not path.is_file():
        raise VariorumError(
            str(folder),
            expected=f"a folder with {CONFIG}",
            found="none",
            do="Name the folder that save_pretrained wrote.",
        )
    config = read_json(path.read_bytes(), CONFIG)
    if not isinstance(config, dict):
        raise VariorumError(
            CONFIG, expected="a JSON object", found=type(config).__name__, do="Save the checkpoint again."
        )
    return config


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """What a checkpoint holds of a model: each parameter once, though tied under several names; persistent buffers."""
    parameters = dict(model.named_parameters())
    alias = {name for name, _ in model.named_parameters(remove_duplicate=False)} - parameters.keys()
    return {name: tensor for name, tensor in model.state_dict().items() if name not in alias}


def shapes_of(spec: Spec[Any]) -> dict[str, torch.Size]:
    """The shapes of :func:`tensors_of` of the model that a Spec builds, without its memory."""
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in tensors_of(spec.build()).items()}


def fill(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a model these tensors, in their dtype; a parameter tied under several names gets its one tensor."""
    for name, parameter in model.named_parameters():
        parameter.data = tensors[name]
    for name, buffer in model.named_buffers():
        if name in tensors:
            buffer.data = tensors[name]
