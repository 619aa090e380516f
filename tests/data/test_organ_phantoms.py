"""Organ phantoms: what is in them, what tells the kidneys apart, and the score."""

import pytest
import torch

from variorum.core import VariorumError
from variorum.data.organ_phantoms import OrganPhantoms


def drawn(rows: int = 24, **choices: object) -> tuple[torch.Tensor, torch.Tensor]:
    batch = OrganPhantoms(**choices).batch(0, rows, 0)
    return batch.inputs["inputs"], batch.targets


def middle(mask: torch.Tensor, axis: int) -> float:
    return mask.nonzero()[:, axis].float().mean().item()


def test_every_volume_has_every_organ():
    volumes, targets = drawn()
    assert volumes.shape == (24, 1, 16, 64, 64) and targets.shape == (24, 16, 64, 64)
    assert all(((targets == organ).flatten(1).sum(1) > 100).all() for organ in range(4))


def test_only_the_spine_tells_the_kidneys_apart():
    """The left kidney is at the picture's left where the spine is below, else at its right; the liver does not tell."""
    volumes, targets = drawn(noise=0.0)
    spine_below, left_at_left, liver_below = [], [], []
    for volume, target in zip(volumes[:, 0], targets, strict=True):
        spine_below.append(middle(volume > 0.95, 1) > 32)
        left_at_left.append(middle(target == 1, 2) < middle(target == 2, 2))
        liver_below.append(middle(target == 3, 1) > 32)
        for kidney in (1, 2):
            assert torch.allclose(volume[target == kidney], torch.tensor(0.6))
    assert spine_below == left_at_left
    assert {True, False} == set(spine_below) == set(liver_below)
    agree = sum(a == b for a, b in zip(spine_below, liver_below, strict=True))
    assert 4 <= agree <= 20


def test_the_liver_differs_by_its_grain():
    """It is as bright as a kidney on average, but each voxel is unlike its neighbours."""
    volumes, targets = drawn(noise=0.0)
    liver = volumes[:, 0][targets == 3]
    assert liver.mean().item() == pytest.approx(0.6, abs=0.01)
    assert sorted({round(v, 3) for v in liver.tolist()}) == [0.4, 0.8]


def test_the_score_is_the_mean_dice():
    task = OrganPhantoms(size=(4, 16, 16))
    targets = torch.tensor([[0, 1, 1, 2, 3, 3], [0, 0, 0, 0, 0, 0]])
    found = torch.tensor([[0, 1, 0, 2, 3, 0], [0, 0, 0, 0, 0, 3]])
    scores = task.scores(torch.nn.functional.one_hot(found, 4).float(), targets)
    assert scores.tolist() == pytest.approx([(2 / 3 + 1 + 2 / 3) / 3, 2 / 3])


def test_sizes_are_checked():
    with pytest.raises(VariorumError, match="three sides"):
        OrganPhantoms(size=(64, 64))
