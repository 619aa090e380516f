"""MASFormer's claim at laptop scale: full attention is needed, but not in every layer. arXiv:2310.12442."""

from collections.abc import Mapping
from functools import cache

from variorum.claims.claim import Claim, Demand
from variorum.compare.measure import score
from variorum.data.copy_memory import CopyMemory
from variorum.systems.masformer import Placement, Span, masformer
from variorum.train.descent import Descent
from variorum.train.optimizer import AdamW
from variorum.train.recipe import Budget, Run

STEPS, DEPTH, WINDOW, LENGTH = 300, 3, 4, 16
RECIPE = Descent.spec(batch=32, optimizer=AdamW.spec(lr=3e-3), evaluations=0)


@cache
def _copy() -> CopyMemory:
    return CopyMemory(length=LENGTH)


def _accuracy(full: int, placement: Placement, seed: int) -> float:
    spec = masformer(dim=48, depth=DEPTH, heads=4, full=full, window=WINDOW, length=2 * LENGTH, placement=placement,
                     span=Span.SLIDING)  # fmt: skip
    model = RECIPE.build().train(spec, _copy(), Run(Budget(steps=STEPS), seed=seed))
    return score(model, _copy()).mean


class FewFullLayers(Claim):
    """One full layer of three copies what was shown far back as well as three, and local layers alone do not.

    16 symbols of 8 kinds are shown and asked for again 16 positions later; windows of 4 in three layers add up to 10
    positions. The accuracy of each place of the full layer is told; the best of them counts. The demand on the model of
    full layers says that there is something to be lost.
    """

    system, check, synthetic = "masformer", 3, True
    demands = (
        Demand("accuracy of all full - of one full", most=0.05),
        Demand("accuracy of all local", most=0.3),
        Demand("accuracy of all full", least=0.9),
    )

    def run(self, seed: int) -> Mapping[str, float]:
        one = {place.value: _accuracy(1, place, seed) for place in (Placement.BOTTOM, Placement.MIDDLE, Placement.TOP)}
        full, local = _accuracy(DEPTH, Placement.BOTTOM, seed), _accuracy(0, Placement.BOTTOM, seed)
        return {
            "accuracy of all full - of one full": full - max(one.values()),
            "accuracy of all local": local,
            "accuracy of all full": full,
            **{f"accuracy of one full, at the {place}": value for place, value in one.items()},
        }
