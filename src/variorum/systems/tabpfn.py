"""TabPFN: a Transformer that solves small tabular classification problems. Hollmann et al. 2022, arXiv:2207.01848.

What differs from the plain encoder: a token is a whole row of the table, with its label if that is known; rows
attend to labelled rows only; nothing is trained on the user's table. The network is fitted once to data sets drawn
from a prior of random causal models and random networks, and answers from the labelled rows it is given.
"""

from variorum.core import Spec, entry
from variorum.data.priors.bnn import BnnPrior
from variorum.data.priors.mixed import MixedPrior
from variorum.data.priors.scm import ScmPrior
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.labelled_rows import LabelledRows
from variorum.layers.heads.token_mlp import TokenMLP
from variorum.layers.mixers.labelled_attention import LabelledAttention
from variorum.layers.norms.identity import NoNorm
from variorum.layers.residuals.postnorm import PostNorm
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack
from variorum.train.prior_fitted import PriorFitted

PRIOR = MixedPrior.spec(first=ScmPrior.spec(rows=96, features=32), second=BnnPrior.spec(rows=96, features=32))
"""The prior at laptop scale: up to 32 columns and 96 rows (published: 100 and 1,024)."""


@entry(
    "tabpfn",
    sizes={"tabpfn": {"dim": 512, "depth": 12, "heads": 4, "hidden": 1024, "features": 100}},
    fits={
        "table": [
            {"dim": dim, "depth": depth, "heads": 4, "hidden": 2 * dim, "features": 32}
            for dim, depth in ((64, 3), (128, 4), (32, 2))
        ]
    },
    recipe=PriorFitted.spec(prior=PRIOR),
)
def tabpfn(*, dim: int, depth: int, heads: int, hidden: int, features: int = 100, classes: int = 10) -> Spec[Stack]:
    """The network; what fits it to the prior and gives it rows is the recipe."""
    block = Block.spec(
        mixer=LabelledAttention.spec(heads=heads), channels=MLP.spec(hidden=hidden), residual=PostNorm.spec()
    )
    head = TokenMLP.spec(outputs=classes, hidden=hidden)
    embed = LabelledRows.spec(features=features)
    return Stack.spec(dim=dim, embed=embed, blocks=[block] * depth, norm=NoNorm.spec(), head=head)
