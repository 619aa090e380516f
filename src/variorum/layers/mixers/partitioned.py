"""A mixer within groups of a grid's cells: the cost of small rows, whatever the grid. Wu et al. 2022."""

from collections.abc import Iterator
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Growth, Layout, Memory, Mixer, Spec, Traits
from variorum.layers.grids import sides
from variorum.layers.mixers.attention import Attention
from variorum.layers.partitions.dilated import DilatedPartition
from variorum.layers.partitions.local import LocalPartition
from variorum.layers.partitions.partition import Partition

Shape = tuple[int, ...]


class Partitioned(Mixer):
    """y_G = mixer(x_G) for every group G of the grid's cells.

    Wu et al. 2022, arXiv:2201.00462: attention within local groups sees neighbours, within dilated groups all of the
    volume, at one cost, linear in the cells. x (batch, n, dim) with a ``layout.grid`` of as many axes as the
    groups have; each group is itself such a grid to the mixer. Groups at the border may be smaller: no cell is made up
    and none needs a mask (to fill groups up and mask what was added gives the same).
    """

    examples = (
        {"mixer": Attention.spec(heads=2), "partition": LocalPartition.spec(size=(2, 2, 2))},
        {"mixer": Attention.spec(heads=2), "partition": DilatedPartition.spec(size=(2, 2, 2))},
        {"mixer": Attention.spec(heads=2), "partition": DilatedPartition.spec(size=(2, 4))},
    )

    def __init__(self, dim: int, *, mixer: Spec[Mixer], partition: Spec[Partition]) -> None:
        super().__init__()
        self.mixer = mixer.build(dim=dim)
        self.partition = partition.build()

    @property
    def traits(self) -> Traits:
        """It needs a grid; its work is that of as many small rows as there are groups."""
        return Traits(grid=len(self.partition.size), ragged=False, growth=Growth.LINEAR,
                      exports=self.mixer.traits.exports, batchwise=self.mixer.traits.batchwise)  # fmt: skip

    def forward(
        self, x: Float[Tensor, "batch n dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "batch n dim"]:
        y = torch.empty_like(x)
        for shape, cells in groups(self.partition, sides(layout, len(self.partition.size)), x.device):
            rows = x[:, cells.flatten()].unflatten(1, cells.shape).flatten(0, 1)
            mixed = self.mixer(rows, Layout(grid=shape)).unflatten(0, (x.shape[0], len(cells))).flatten(1, 2)
            y = y.to(mixed.dtype).index_copy(1, cells.flatten(), mixed)
        return y


def groups(partition: Partition, grid: Shape, device: torch.device) -> Iterator[tuple[Shape, Tensor]]:
    """The groups of a grid gathered by shape: for each shape the flat places (groups, cells), both row-major."""
    axes = []
    for side, size in zip(grid, partition.size, strict=True):
        by_length: dict[int, list[list[int]]] = {}
        for along in partition.along(side, size):
            by_length.setdefault(len(along), []).append(list(along))
        axes.append([torch.tensor(alike, device=device) for alike in by_length.values()])
    for box in product(*axes):
        places = torch.zeros(1, 1, dtype=torch.int64, device=device)
        for cells, side in zip(box, grid, strict=True):
            places = (places[:, None, :, None] * side + cells[None, :, None, :]).flatten(2).flatten(0, 1)
        yield tuple(cells.shape[1] for cells in box), places
