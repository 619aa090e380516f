"""Random models of transformers that write text: drawn, saved and read as ours; and what is checked of every family."""

import os
import re

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from variorum.core import VariorumError
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.family import family_of
from variorum.runtime.huggingface.folder import load_folder, save_folder, tensors_of

transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()

WEIGHTS = "model.safetensors"


def spread(cls, config, *, seed=0, scale=0.2):
    """A model of transformers whose every parameter is drawn anew, so that no bias is zero and no norm is one."""
    torch.manual_seed(seed)
    model = getattr(transformers, cls)(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                centre = float(parameter.dim() == 1 and "bias" not in name)
                parameter.copy_(centre + scale * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if name == "final_logits_bias":
                buffer.copy_(torch.randn_like(buffer))
    return model


def read(model, folder):
    """The model as ours, by way of its folder."""
    model.save_pretrained(folder)
    return load_folder(folder).model


def written(model, cls, folder, **more):
    """Our model as one of transformers, by way of a folder that we write; nothing is missing, and nothing left over."""
    save_folder(model, folder, **more)
    again, told = getattr(transformers, cls).from_pretrained(folder, output_loading_info=True)
    assert not any(told.values()), told
    return again.eval()


def ids(lengths, vocab, *, seed=0, first=3):
    """One row of ids for each length; the same as a padded batch; its mask."""
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randint(first, vocab, (n,), generator=generator) for n in lengths]
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return rows, torch.zeros(mask.shape, dtype=torch.int64).masked_scatter(mask, torch.cat(rows)), mask


def refuses_tensors(folder):
    """A tensor too many, and one too few, are errors that name it."""
    model, tensors = load_folder(folder).model, load_file(folder / WEIGHTS)
    naming = family_of(model.built_from).naming(model.built_from)
    shapes = {name: tensor.shape for name, tensor in tensors_of(model).items()}
    for name in tensors:
        with pytest.raises(VariorumError, match="missing: .*" + re.escape(name.split(".", 1)[-1])):
            naming.to_ours({other: t for other, t in tensors.items() if other != name}, shapes)
    save_file({**tensors, "unknown.weight": torch.zeros(2)}, folder / WEIGHTS)
    with pytest.raises(VariorumError, match=r"unmapped: unknown\.weight"):
        load_folder(folder)


def is_its_own_family(model, model_type):
    """The Spec names its family, and the family's config.json is the Spec again."""
    spec = model.built_from
    family = family_of(spec)
    assert family.model_type == model_type
    assert family.to_spec(Config(family.to_config(spec))) == spec
