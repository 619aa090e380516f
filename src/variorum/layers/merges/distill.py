"""Self-attention distilling: halve the length between encoder layers. Zhou et al. 2020, arXiv:2012.07436."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from variorum.core import Layout, Merge, Traits, VariorumError


class Distill(Merge):
    """y = MaxPool(ELU(BN(conv(x)))), a circular convolution of 3 and a pool of 3 with stride 2 along the row.

    Zhou et al. 2020, arXiv:2012.07436. (batch, n, source) -> (batch, ceil(n / 2), dim).
    """

    traits: Traits = Traits(ragged=False, batchwise=True)

    def __init__(self, source: int, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(source, dim, 3, padding=1, padding_mode="circular")
        self.norm = nn.BatchNorm1d(dim)

    def forward(
        self, x: Float[Tensor, "batch n source"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "batch m dim"], Layout | None]:
        if layout is not None and layout.packed:
            raise VariorumError("Distill", expected="equal rows", found="packed rows", do="Pass rows of one length.")
        y = F.elu(self.norm(self.conv(x.transpose(1, 2)))).unsqueeze(2)
        y = F.max_pool2d(y, (1, 3), stride=(1, 2), padding=(0, 1))  # max_pool1d would fix the length in an export
        return y.squeeze(2).transpose(1, 2), None
