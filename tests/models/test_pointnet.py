"""PointNet does not know the order of points, and learns shapes."""

import torch

from variorum.core import Layout
from variorum.models.pointnet import PointNet


def test_the_order_of_points_changes_nothing() -> None:
    torch.manual_seed(0)
    model = PointNet(4).eval()
    cloud = torch.randn(2, 20, 3)
    torch.testing.assert_close(model(cloud), model(cloud[:, torch.randperm(20)]))
    torch.testing.assert_close(model(cloud[:, torch.arange(40) % 20]), model(cloud)), "nor do points given twice"


def test_learns_spheres_from_cubes() -> None:
    """On uneven clouds; chance is one half."""
    torch.manual_seed(0)

    def shapes(rows: int, seed: int) -> tuple[torch.Tensor, Layout, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        kinds, clouds = torch.arange(rows) % 2, []
        for row in range(rows):
            points = torch.rand(30 + row % 5, 3, generator=generator) * 2 - 1
            norm = 2.0 if row % 2 == 0 else torch.inf
            clouds.append(points / points.norm(p=norm, dim=1, keepdim=True))
        return torch.cat(clouds), Layout.ragged([len(c) for c in clouds]), kinds

    model = PointNet(2, point=(16, 32), row=(16,))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for step in range(60):
        x, layout, y = shapes(16, step)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x, layout), y).backward()
        optimizer.step()
    x, layout, y = shapes(100, 1000)
    assert (model.eval()(x, layout).argmax(1) == y).float().mean() > 0.9
