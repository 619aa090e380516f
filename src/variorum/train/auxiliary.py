"""Losses that parts tell of their own: collected at the point ``auxiliary`` and added to the objective's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from variorum.core import VariorumError, listen
from variorum.core.hooks import AUXILIARY


@contextmanager
def auxiliary(model: nn.Module) -> Iterator[Callable[[], Tensor | None]]:
    """Listen to the auxiliary losses of a model; the function given returns their sum since it was last called.

    What a part tells (``self.tap("auxiliary", loss)``) is a scalar that is already weighted by its own coefficient and
    already a mean over the real tokens it saw. Packed rows hold no padding, so a mean over the tokens of a packed batch
    is one over real tokens: the mean of its rows' means, each weighted by its number of tokens. A part that is visited
    several times in one forward pass (a loop, shared layers) tells each time, and all of it is added up.

    Where a batch goes through in pieces, each piece's sum has the weight of the piece's number of targets, as its
    objective has. So the pieces add up to exactly the whole for a loss that is a mean over tokens, wherever all pieces
    have as many targets for each token. A loss that is no such mean (the load balance of a mixture of experts is a
    product of two averages over the batch) is by its nature one of each piece.

    Raises :class:`VariorumError` if what is told is no scalar.
    """
    with listen(model, f"*{AUXILIARY}") as told:

        def drain() -> Tensor | None:
            found = None
            for name, values in told.items():
                for value in values:
                    if value.dim() != 0:
                        raise VariorumError(f"auxiliary loss of {name}", expected="a scalar, the mean over real tokens",
                                            found=f"a tensor of shape {tuple(value.shape)}",
                                            do='Tell loss.mean(): self.tap("auxiliary", loss.mean()).')  # fmt: skip
                    found = value if found is None else found + value
                values.clear()
            return found

        yield drain
