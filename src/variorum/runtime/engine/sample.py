"""Made-up inputs, for a model that is compiled without any of the user's."""

from typing import Any

import torch
from torch import nn

from variorum.core import Embed, Layout, Part, Skeleton, Spec, VariorumError
from variorum.runtime.engine.measure import Call

ROWS, LONGEST, IMAGES = 16, 64, 4
SCORES = 1 << 25
"""Scores of words that a sample is answered with at most: a search for a plan holds them many times."""
SEED = 0


def made_up(model: nn.Module) -> Call:
    """Rows of random tokens of uneven length, packed; or random images. Other inputs cannot be made up: VariorumError.

    The same for the same model, every time.
    """
    generator = torch.Generator().manual_seed(SEED)
    spec = model.built_from if isinstance(model, Part) else None
    if isinstance(model, Skeleton) and spec is not None and set(model.inputs) == {"inputs"}:
        embed = model.get_submodule(model.inputs["inputs"].embed)
        vocab = [value for _, node in spec.walk() for name, value in node.args if name == "vocab"]
        if isinstance(embed, Embed) and embed.reads == "ids" and vocab:
            return _tokens(min(vocab), _longest(spec), generator)
        sizes = _image(spec)
        if sizes is not None:
            return Call((torch.randn(IMAGES, *sizes, generator=generator),), {})
    raise VariorumError(
        "compile",
        expected="a sample of the model's inputs, for what it reads cannot be made up",
        found="none",
        do="Pass sample=(inputs,), the arguments of one call as you will make them.",
    )


def rows_for(vocab: int, length: int) -> int:
    """Rows of a sample for a vocabulary of so many words."""
    return max(1, min(ROWS, SCORES // (vocab * length)))


def _tokens(vocab: int, longest: int, generator: torch.Generator) -> Call:
    rows = rows_for(vocab, longest)
    lengths = [max(1, longest * (row + 1) // rows) for row in range(rows)]
    ids = torch.randint(vocab, (sum(lengths),), generator=generator)
    return Call((ids,), {"layout": Layout.ragged(lengths)})


def _longest(spec: Spec[Any]) -> int:
    """The longest rows that every part of the model takes, up to ``LONGEST``."""
    told = [value for _, node in spec.walk() for name, value in node.args if name == "length" and value]
    return min([LONGEST, *told])


def _image(spec: Spec[Any]) -> tuple[int, int, int] | None:
    """Channels, height and width that the model was built for."""
    for _, node in spec.walk():
        args = dict(node.args)
        if {"channels", "height", "width"} <= args.keys():
            return args["channels"], args["height"], args["width"]
    return None
