"""A transducer and a framewise classifier on one encoder. Noroozi et al. 2023, arXiv:2312.17279, section 3.3."""

from variorum.core import Loss, Objective, Spec
from variorum.models.alignments import Hybrid, Labels
from variorum.objectives.ctc import CTC
from variorum.objectives.transducer import TransducerLoss


class HybridTransducer(Objective):
    """total = transducer's + weight * CTC's, count = number of rows.

    Noroozi et al. 2023, arXiv:2312.17279, with the weight of the published configuration; the authors' code weighs the
    transducer by 1 - weight besides.
    """

    def __init__(
        self,
        *,
        transducer: Spec[Objective] = TransducerLoss.spec(),
        framewise: Spec[Objective] = CTC.spec(),
        weight: float = 0.3,
    ) -> None:
        super().__init__()
        self.transducer, self.framewise, self.weight = transducer.build(), framewise.build(), weight

    def forward(self, outputs: Hybrid, targets: Labels) -> Loss:
        main, beside = self.transducer(outputs.lattice, targets), self.framewise(outputs.framewise, targets)
        return Loss(main.total + self.weight * beside.total, main.count)
