"""URPE's claim at laptop scale: with a relative bias alone a model does not learn its positions. arXiv:2205.13401."""

from collections.abc import Mapping

from variorum.claims.claim import Claim, Demand
from variorum.compare.measure import score
from variorum.core import Part
from variorum.data.which_position import Question, WhichPosition
from variorum.systems.urpe import Relative, urpe
from variorum.train.descent import Descent
from variorum.train.optimizer import AdamW
from variorum.train.recipe import Budget, Run

POSITIONS = WhichPosition(question=Question.POSITION, length=32, symbols=100)
EVEN = WhichPosition(question=Question.EVEN, length=16, symbols=32)


class FactorsTellPositions(Claim):
    """Factors on the weights let a model tell its positions and every second token; a bias of the scores does not.

    Three layers of width 64 with four heads, the same rates and seeds for both. Positions: rows of 32 of 100 symbols,
    500 steps of 16 rows. Even tokens: rows of 16 of 32 symbols, 2,000 steps of 32 rows; half of them are the end that
    any model tells. The paper has rows of 128, 1,000 symbols and layers of RoBERTa's width, which this budget does not
    train: 250 steps on rows of 64 of 200 symbols left the universal model at 40% of positions, and 500 steps on rows of
    32 at 52% of even tokens. Figures are percent told right of held-out positions; constant rows are of one symbol,
    where chance is 3.125%.
    """

    system, check, synthetic = "urpe", 2, True
    demands = (
        Demand("positions, universal", least=95.0),
        Demand("positions, universal ahead of bias", least=40.0),
        Demand("positions of constant rows, bias", most=100 / POSITIONS.length + 0.01),
        Demand("even tokens, universal", least=90.0),
        Demand("even tokens, universal ahead of bias", least=20.0),
    )

    def run(self, seed: int) -> Mapping[str, float]:
        figures = {}
        constant = WhichPosition(length=POSITIONS.length, symbols=POSITIONS.symbols, constant=True)
        for relative in Relative:
            model = _trained(relative, POSITIONS, seed, batch=16, steps=500)
            figures[f"positions, {relative}"] = 100 * score(model, POSITIONS).mean
            figures[f"positions of constant rows, {relative}"] = 100 * score(model, constant).mean
            model = _trained(relative, EVEN, seed, batch=32, steps=2000)
            figures[f"even tokens, {relative}"] = 100 * score(model, EVEN).mean
        for name in ("positions", "even tokens"):
            figures[f"{name}, universal ahead of bias"] = figures[f"{name}, universal"] - figures[f"{name}, bias"]
        return figures


def _trained(relative: Relative, task: WhichPosition, seed: int, *, batch: int, steps: int) -> Part:
    spec = urpe(dim=64, depth=3, heads=4, length=task.length, relative=relative)
    recipe = Descent.spec(batch=batch, evaluations=0, optimizer=AdamW.spec(lr=2e-3, weight_decay=0.0))
    return recipe.build().train(spec, task, Run(Budget(steps=steps), seed=seed))
