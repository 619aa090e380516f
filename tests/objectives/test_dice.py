"""The Dice loss, alone and with cross-entropy, and targets at coarser grids."""

import pytest
import torch
import torch.nn.functional as F

from variorum.core import VariorumError
from variorum.objectives.dice import Dice, at_cells
from variorum.objectives.dice_cross_entropy import DiceCrossEntropy


def sample(*cells: int, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(3, *cells, classes), torch.randint(classes, (3, *cells))


def by_hand(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Row by row and class by class, as the equation stands."""
    total = 0.0
    for row, true in zip(logits.softmax(-1), targets, strict=True):
        scores = []
        for k in range(1, row.shape[-1]):
            p, t = row[..., k], (true == k).float()
            scores.append((2 * (p * t).sum() + 1e-5) / (p.sum() + t.sum() + 1e-5))
        total += 1 - sum(scores).item() / len(scores)
    return total


@pytest.mark.parametrize("cells", [(7,), (4, 5), (2, 3, 4)])
def test_dice_is_its_equation(cells):
    loss = Dice()(*sample(*cells))
    assert loss.total.item() == pytest.approx(by_hand(*sample(*cells)), rel=1e-5) and loss.count == 3


def test_both_together():
    logits, targets = sample(2, 3, 4)
    surprise = F.cross_entropy(logits.flatten(0, 3), targets.flatten()).item()
    loss = DiceCrossEntropy(dice=0.5, cross_entropy=2.0)(logits, targets)
    assert loss.mean.item() == pytest.approx(0.5 * by_hand(logits, targets) / 3 + 2 * surprise, rel=1e-5)


def test_ends():
    """A sure and right answer costs nothing, an organ wholly missed costs its share."""
    _, targets = sample(8, 8)
    right = 50.0 * F.one_hot(targets, 4)
    assert Dice()(right, targets).total == pytest.approx(0, abs=1e-4)
    missed = 50.0 * F.one_hot(torch.where(targets == 2, 0, targets), 4)
    assert Dice()(missed, targets).mean == pytest.approx(1 / 3, abs=1e-4)
    nothing = torch.zeros_like(targets)
    assert Dice()(50.0 * F.one_hot(nothing, 4), nothing).total == pytest.approx(0, abs=1e-4)


def test_coarse_answers_are_judged_at_the_middle_of_their_cells():
    targets = torch.arange(12)[None]
    assert at_cells(targets, (6,)).tolist() == [[1, 3, 5, 7, 9, 11]]
    assert at_cells(targets, (4,)).tolist() == [[1, 4, 7, 10]]
    assert at_cells(targets, (12,)) is targets
    logits, targets = sample(4, 6)
    blown_up = targets.repeat_interleave(2, dim=1).repeat_interleave(3, dim=2)
    for objective in (Dice(), DiceCrossEntropy()):
        assert objective(logits, blown_up).total == objective(logits, targets).total


@pytest.mark.parametrize("objective", [Dice(), DiceCrossEntropy()])
def test_what_does_not_fit_is_refused(objective):
    logits, targets = sample(4, 6)
    with pytest.raises(VariorumError, match=r"targets \(rows, \*cells\)"):
        objective(logits, targets[:, 0])
    with pytest.raises(VariorumError, match="expected int64 targets"):
        objective(logits, targets.int())


def test_knobs_are_checked():
    with pytest.raises(VariorumError, match="above 0"):
        Dice(smooth=0.0)
    with pytest.raises(VariorumError, match="weights"):
        DiceCrossEntropy(dice=0.0, cross_entropy=0.0)
