"""Parameters that are one tensor under several names."""

from collections.abc import Sequence

from torch import nn

from variorum.core import VariorumError


def tie(model: nn.Module, pairs: Sequence[tuple[str, str]]) -> None:
    """Make the parameter named first in each pair the one named second. Unknown names raise VariorumError."""
    for name, source in pairs:
        try:
            parameter = model.get_parameter(source)
            model.get_parameter(name)
        except AttributeError as error:
            raise VariorumError("tied", expected="names of two parameters of the model",
                                found=f"{(name, source)}: {error}",
                                do="See model.named_parameters().") from None  # fmt: skip
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, parameter)
