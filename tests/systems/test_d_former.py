"""D-Former: a U of local and dilated attention over volumes."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from house.kept import bears_out
from variorum.core import Answers, Layout, Spec, VariorumError, find_entry, points
from variorum.data.organ_phantoms import OrganPhantoms
from variorum.layers.mixers.attention import Attention
from variorum.layers.mixers.partitioned import Partitioned
from variorum.layers.partitions.dilated import DilatedPartition
from variorum.layers.partitions.local import LocalPartition
from variorum.layers.partitions.partition import Partition
from variorum.systems.d_former import d_former
from variorum.train.descent import Descent
from variorum.train.optimizer import AdamW
from variorum.train.recipe import Budget, Run

SLUG = "d-former"
GRID = (4, 16, 16)
SIZES = [(2, 8, 8), (3, 5, 7), (4, 16, 16), (1, 6, 20)]
TINY = {"dim": 8, "depths": (2, 2), "heads": (1, 2), "group": (2, 2, 2), "supervised": 2}


def parted(partition: Spec[Partition], dim: int = 16, heads: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return Partitioned.spec(mixer=Attention.spec(heads=heads), partition=partition).build(dim=dim).double()


def names(kind: type[Partition], size: tuple[int, ...], grid: tuple[int, ...] = GRID) -> Tensor:
    """(n, axes) the group that each cell is in, from the definitions in the paper."""
    cells = torch.cartesian_prod(*(torch.arange(side) for side in grid))
    sizes = torch.tensor(size)
    if kind is LocalPartition:
        return cells // sizes
    return cells % torch.tensor([math.ceil(side / cell) for side, cell in zip(grid, size, strict=True)])


def masked(attention: nn.Module, x: Tensor, allowed: Tensor) -> Tensor:
    """Full attention, scores and all, in which only allowed pairs meet."""
    q, k, v = attention.qkv(x).unflatten(-1, (3, attention.heads, -1)).permute(2, 0, 3, 1, 4)
    scores = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).masked_fill(~allowed, -math.inf)
    return attention.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


@pytest.mark.row(SLUG, 0)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [LocalPartition, DilatedPartition])
def test_equals_masked_full_attention(kind, size):
    """Local and dilated attention equal full attention with same-group masks on 4 x 16 x 16, divisible or not."""
    part = parted(kind.spec(size=size))
    x = torch.randn(2, math.prod(GRID), 16, dtype=torch.float64)
    group = names(kind, size)
    allowed = (group[:, None] == group).all(-1)
    with torch.no_grad():
        found, expected = part(x, Layout(grid=GRID)), masked(part.mixer, x, allowed)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert (found - expected).abs().max() < 1e-12


@pytest.mark.row(SLUG, 0)
@pytest.mark.parametrize("kind", [LocalPartition, DilatedPartition])
def test_group_of_the_whole_volume_is_global_attention(kind):
    """With interval 1 and the volume as group, both scopes are plain attention over all patches."""
    part = parted(kind.spec(size=GRID))
    x = torch.randn(2, math.prod(GRID), 16, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(part(x, Layout(grid=GRID)), part.mixer(x), atol=1e-12, rtol=0)


@pytest.mark.row(SLUG, 0)
@pytest.mark.parametrize("size", [(2, 4, 4), (2, 8, 8), (3, 5, 7)])
def test_reach(size):
    """By gradients, a dilated layer's answer depends on patches all over the volume, a local one's on its group."""
    place = 4 * 16 * 1 + 16 * 5 + 9
    for kind in (LocalPartition, DilatedPartition):
        part = parted(kind.spec(size=size))
        x = torch.randn(1, math.prod(GRID), 16, dtype=torch.float64, requires_grad=True)
        part(x, Layout(grid=GRID))[0, place].square().sum().backward()
        reached = x.grad[0].abs().sum(-1) > 0
        group = names(kind, size)
        assert torch.equal(reached, (group == group[place]).all(-1))
        cells = torch.cartesian_prod(*(torch.arange(side) for side in GRID))[reached]
        for axis, (side, cell) in enumerate(zip(GRID, size, strict=True)):
            first, last = cells[:, axis].min().item(), cells[:, axis].max().item()
            interval = math.ceil(side / cell)
            if kind is LocalPartition:
                assert last - first < cell
            else:
                assert first < interval and last >= side - interval


def closed_form(dim: int, depths: tuple[int, ...], patch: int, channels: int, classes: int, supervised: int) -> int:
    """Parameters of the published network, layer by layer."""

    def layer(d: int) -> int:
        attention, mlp, norms = 3 * d * d + 3 * d + d * d + d, 4 * d * d + 4 * d + 4 * d * d + d, 2 * 2 * d
        return attention + mlp + norms

    def stage(d: int, depth: int) -> int:
        return depth * layer(d) + 27 * d + d  # and the 3 x 3 x 3 depthwise convolution

    def merge(d: int) -> int:
        return 2 * 8 * d + 8 * d * 2 * d

    def expand(d: int, cells: int, to: int) -> int:
        return d * cells * to + 2 * to

    widths = [dim << s for s in range(len(depths))]
    total = channels * patch * dim + dim + 2 * dim
    total += sum(stage(d, depth) for d, depth in zip(widths, depths, strict=True))
    total += sum(merge(d) for d in widths[:-1])
    for d, depth in zip(widths[:-1], depths, strict=False):
        total += expand(2 * d, 8, d) + 2 * d * d + d + stage(d, depth)
    total += 2 * widths[-1] + 2 * dim  # the norms of the coarsest tokens and of the finest
    return total + sum(expand(d, patch, d) + d * classes for d in widths[:supervised])


@pytest.mark.row(SLUG, 1)
def test_parameters_are_the_sum_of_the_layers():
    """The published network (96 wide, 2, 2, 6, 2 layers) has 50,557,248 parameters, exactly the sum of its layers."""
    model = published()
    found = sum(p.numel() for p in model.parameters())
    print(f"D-Former: {found:,} parameters")
    assert found == closed_form(96, (2, 2, 6, 2), 32, 1, 14, 3) == 50_557_248


def published() -> nn.Module:
    with torch.device("meta"):
        return find_entry(SLUG).spec("d-former").fill(channels=1, classes=14).build().eval()


@pytest.mark.row(SLUG, 1)
@pytest.mark.parametrize("size", [(64, 128, 128), (61, 125, 130), (33, 96, 70)])
def test_answers_are_of_the_size_of_the_volume(size):
    """The published network's answers have the volume's sides, for 64 x 128 x 128 and for sides that do not divide."""
    model = published()
    assert model(torch.empty(1, 1, *size, device="meta")).shape == (1, *size, 14)
    answers = model.train()(torch.empty(1, 1, *size, device="meta"))
    assert isinstance(answers, Answers) and answers.each[0].shape == (1, *size, 14)
    halves = [[math.ceil(math.ceil(n / p) / 2**s) * p for n, p in zip(size, (2, 4, 4), strict=True)] for s in (1, 2)]
    assert [list(answer.shape[1:-1]) for answer in answers.each[1:]] == halves
    assert answers.weights == pytest.approx((4 / 7, 2 / 7, 1 / 7))


@pytest.mark.row(SLUG, 1)
def test_what_is_filled_up_is_cut_off_again():
    """A small network answers volumes of odd sides, with finite numbers and gradients for all of its parameters."""
    torch.manual_seed(0)
    model = d_former(**TINY).fill(channels=2, classes=3).build()
    answers = model(torch.randn(2, 2, 5, 11, 9))
    assert answers.each[0].shape == (2, 5, 11, 9, 3)
    sum(answer.square().sum() for answer in answers.each).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def attention_flops(part: nn.Module, grid: tuple[int, ...], *, all_of_it: bool = False) -> int:
    """Of the scores and weighted sums, or of the projections too."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        part(torch.empty(1, math.prod(grid), 96, device="meta"), Layout(grid=grid))
    counts = counter.get_flop_counts()["Global"]
    return sum(counts.values()) if all_of_it else counts[torch.ops.aten.bmm]


@pytest.mark.row(SLUG, 2)
def test_global_scope_costs_what_local_scope_costs():
    """Dilated attention takes exactly local attention's FLOPs; both grow as n^1.00, plain attention as n^2.00.

    From 8 x 16 x 16 over 16 x 32 x 32 to 32 x 64 x 64 patches, in groups of 2 x 8 x 8.
    """
    grids = [(8 << i, 16 << i, 16 << i) for i in range(3)]
    with torch.device("meta"):
        attention = Attention.spec(heads=3)
        sizes = (kind.spec(size=(2, 8, 8)) for kind in (LocalPartition, DilatedPartition))
        local, dilated = (Partitioned.spec(mixer=attention, partition=size).build(dim=96) for size in sizes)
        plain = attention.build(dim=96)
    for grid in grids:
        for everything in (False, True):
            one, other = (attention_flops(part, grid, all_of_it=everything) for part in (local, dilated))
            assert one == other
    growth = {
        name: math.log(attention_flops(part, grids[-1]) / attention_flops(part, grids[0]), 64)
        for name, part in {"local": local, "dilated": dilated, "plain": plain}.items()
    }
    assert growth["dilated"] < 1.1 and growth["local"] < 1.1 and growth["plain"] > 1.9, growth
    assert attention_flops(dilated, grids[0]) == 2 * 2 * math.prod(grids[0]) * 2 * 8 * 8 * 96


def test_layers_take_turns():
    """In each stage, down and up, local and dilated groups alternate and positions follow the first layer."""
    spec = find_entry(SLUG).spec("d-former")["model"]
    for stage in (*spec["stages"], *spec["ups"]):
        scopes = [layer["mixer"]["partition"].part for layer in stage if layer.part == "Block"]
        assert scopes == ["LocalPartition", "DilatedPartition"] * (len(scopes) // 2)
        assert [layer.part for layer in stage][1] == "Branch" and len(stage) == len(scopes) + 1
    model = d_former(**TINY).fill(channels=1, classes=3).build()
    assert "model.blocks.2.mixer.mixer.weights" in points(model)


def test_too_many_heads_are_refused():
    """Answers at more stages than there are is refused in words."""
    with pytest.raises(VariorumError, match="1 to 1 heads"):
        d_former(**{**TINY, "supervised": 3}).fill(channels=1, classes=3).build()


def test_it_learns_from_several_answers():
    """Twenty steps of the training loop on tiny phantoms lower the deeply supervised loss by a third and more."""
    losses: list[float] = []
    task = OrganPhantoms(size=(4, 16, 16), rows=2)
    run = Run(Budget(steps=20), report=lambda event: losses.append(event["loss"]))
    model = Descent(batch=2, evaluations=0, report=1, optimizer=AdamW.spec(lr=1e-2)).train(
        d_former(**TINY, patch=(2, 2, 2)), task, run
    )
    assert losses[-1] < 0.67 * losses[0], losses
    answer = model(next(task.held_out("test", 2)).inputs["inputs"])
    assert isinstance(answer, Tensor) and answer.shape == (2, 4, 16, 16, 4)


@pytest.mark.slow
@pytest.mark.row(SLUG, 3)
def test_claim_d_former_scopes() -> None:
    """A fresh run of DFormerScopes comes out as CLAIMS.md has it."""
    bears_out("DFormerScopes")
