"""Groups of equal shape: the tokens of a window, however many. Fan et al. 2021, arXiv:2112.06375 (SST)."""

import torch
from torch import Tensor

from variorum.core import Growth, VariorumError
from variorum.layers.groupings.grouping import Grouping, Groups, sort_rows, window_of


class WindowGroups(Grouping):
    """The tokens of each ``window`` x ``window`` cells of a map are a group, the windows moved by ``shift`` cells.

    Fan et al. 2021, arXiv:2112.06375. Windows of equally many tokens are attended to together, so that nothing is
    filled up.
    """

    axes = 2
    growth = Growth.QUADRATIC
    examples = ({"window": 3, "shift": 1},)

    def __init__(self, *, window: int = 9, shift: int = 0) -> None:
        if window < 1 or not 0 <= shift < window:
            raise VariorumError("WindowGroups", expected="a window above 0, and a shift smaller than it",
                                found=f"window {window}, shift {shift}", do="Choose others.")  # fmt: skip
        self.window, self.shift = window, shift

    def groups(self, coords: Tensor, row_of: Tensor, lengths: list[int]) -> list[Groups]:
        window, _ = window_of(coords, self.window, self.shift)
        order = sort_rows([window[:, 1], window[:, 0]], row_of)
        _, counts = torch.unique_consecutive(torch.cat([row_of[:, None], window], dim=1)[order], dim=0,
                                             return_counts=True)  # fmt: skip
        first = counts.cumsum(0) - counts
        found = []
        for n in counts.unique().tolist():
            members = order[first[counts == n][:, None] + torch.arange(n, device=order.device)]
            found.append(Groups(members, members))
        return found
