"""More parameter tokens for a trained model, which goes on as if nothing had happened. Wang et al. 2024."""

import torch
from torch import Tensor, nn

from variorum.core import Part, Spec, VariorumError
from variorum.layers.projections.pattention import Pattention, Theta


def grown(spec: Spec[Part], factor: float) -> Spec[Part]:
    """The spec with ``factor`` times as many slots in every ``Pattention``, and the constant in Theta as it was.

    Raises VariorumError if it has none, one does not say how many slots it has, or slots would not be whole numbers or
    fewer than before.
    """
    chosen = [path for path, part in spec.walk() if part.cls is Pattention]
    if not chosen:
        raise VariorumError("grow", expected="a model with Pattention", found=spec.part,
                            do="Grow a TokenFormer, or another model of parameter tokens.")  # fmt: skip
    for path in chosen:
        part = spec.at(path) if path else spec
        slots = part["slots"]
        if slots is None or factor < 1 or (slots * factor) % 1:
            raise VariorumError("grow", expected="slots that are given, and a factor from 1 on with a whole product",
                                found=f"slots {slots} at {path}, factor {factor}",
                                do="Choose another factor, or give the spec its slots.")  # fmt: skip
        new = part.but(slots=int(slots * factor), constant=part["constant"] or slots)
        spec = spec.replace(path, new) if path else new
    return spec


@torch.no_grad()
def grow(model: Part, factor: float) -> Part:
    """A model with ``factor`` times as many key and value pairs in every ``Pattention`` that answers as ``model`` does.

    Wang et al. 2024, arXiv:2410.23168, section 3.3. New keys are 0, so that their scores and weights are 0, as the
    constant in Theta is kept; new values are as at first, so that the gradient reaches the new keys.

    Raises VariorumError as :func:`grown` does, for a model that was not built from a Spec, and for a softmax Theta,
    which weighs a score of 0 too.
    """
    spec = model.built_from
    if spec is None:
        raise VariorumError("grow", expected="a model built from a Spec", found=type(model).__name__,
                            do="Build it with spec.build().")  # fmt: skip
    softmax = [name for name, part in _pattention(model) if not part.theta.keeps_zeros]
    if softmax:
        raise VariorumError("grow", expected="a Theta that leaves a score of 0 without weight",
                            found=f"{Theta.SOFTMAX.value} at {softmax[0]}",
                            do=f"Use {Theta.L2_NORM_GELU.value} or {Theta.GELU_L2_NORM.value}.")  # fmt: skip
    larger = grown(spec, factor).build().to(next(model.parameters()))
    for (_, old), (_, part) in zip(_pattention(model), _pattention(larger), strict=True):
        part.keys.zero_()
        for new, trained in ((part.keys, old.keys), (part.values, old.values)):
            new[: len(trained)] = trained
    _copy(model, larger)
    return larger.train(model.training)


def _pattention(model: nn.Module) -> list[tuple[str, Pattention]]:
    return [(name, part) for name, part in model.named_modules() if isinstance(part, Pattention)]


def _copy(model: nn.Module, larger: nn.Module) -> None:
    """All parameters and buffers whose shape has stayed."""
    theirs: dict[str, Tensor] = larger.state_dict(keep_vars=False)
    for name, value in model.state_dict().items():
        if theirs[name].shape == value.shape:
            theirs[name].copy_(value)
