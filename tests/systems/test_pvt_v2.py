"""PVT v2: a pyramid of spatial-reduction attention with overlapping patches and convolutional feed-forward networks."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from house.kept import bears_out
from standins import torchvision_standin
from variorum.core import Layout, VariorumError, find_entry
from variorum.layers.channels.mlp import MLP
from variorum.layers.mixers.attention import Attention
from variorum.layers.mixers.spatial_reduction_attention import SpatialReductionAttention
from variorum.testing.work import work

SLUG = "pvt-v2"
FACTS = {"channels": 3, "height": 224, "width": 224, "classes": 1000}


def reference(name: str, **options: object) -> nn.Module:
    """A timm model with random weights; norms and biases moved away from where they start."""
    with torchvision_standin.installed():
        import timm

        torch.manual_seed(0)
        model = timm.create_model(name, **options).eval()
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.dim() == 1:
                value.uniform_(0.5, 1.5) if key.endswith("weight") else value.normal_(std=0.1)
    return model


def copy(ours: nn.Module, theirs: nn.Module) -> None:
    for mine, value in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        mine.copy_(value.reshape(mine.shape))


@torch.no_grad()
def copy_attention(ours: nn.Module, theirs: nn.Module) -> None:
    attention = ours
    if isinstance(ours, SpatialReductionAttention):
        attention = ours.attention
        convs = [part for part in ours.reduce.parts if any(True for _ in part.parameters())]
        copy(convs[0], theirs.sr)
        copy(convs[1], theirs.norm)
    attention.qkv.weight.copy_(torch.cat([theirs.q.weight, theirs.kv.weight]))
    attention.qkv.bias.copy_(torch.cat([theirs.q.bias, theirs.kv.bias]))
    copy(attention.out, theirs.proj)


@torch.no_grad()
def copy_pvt(ours: nn.Module, theirs: nn.Module) -> None:
    copy(ours.embed.embed.convs[0], theirs.patch_embed.proj)
    copy(ours.embed.norm, theirs.patch_embed.norm)
    copy(ours.head.linear, theirs.head)
    for merge, stage in zip(ours.merges, theirs.stages[1:], strict=True):
        copy(merge.parts[0].conv, stage.downsample.proj)
        copy(merge.parts[1], stage.downsample.norm)
    for norm, stage in zip(ours.norms, theirs.stages, strict=True):
        copy(norm, stage.norm)
    for block, other in zip(ours.blocks, [b for stage in theirs.stages for b in stage.blocks], strict=True):
        copy(block.mixer_residual.norm, other.norm1)
        copy(block.channels_residual.norm, other.norm2)
        copy_attention(block.mixer, other.attn)
        copy(block.channels.up, other.mlp.fc1)
        copy(block.channels.mixer.conv, other.mlp.dwconv)
        copy(block.channels.down, other.mlp.fc2)


def matched(size: str, name: str) -> tuple[nn.Module, nn.Module]:
    theirs = reference(name)
    ours = find_entry(SLUG).spec(size, drop=0.0).fill(**FACTS).build().eval()
    copy_pvt(ours, theirs)
    return ours, theirs


@pytest.mark.row(SLUG, 0)
@pytest.mark.parametrize(("size", "name"), [("pvt-v2-b0", "pvt_v2_b0"), ("pvt-v2-b2-li", "pvt_v2_b2_li")])
def test_equals_timm(size, name):
    """Logits and the maps of the four stages equal timm's pvt_v2_b0 and pvt_v2_b2_li at 224 x 224 to 1e-4."""
    ours, theirs = matched(size, name)
    x = torch.randn(2, 3, 224, 224)
    seen: list[Tensor] = []
    for stage in theirs.stages:
        stage.register_forward_hook(lambda module, given, out: seen.append(out))
    with torch.no_grad():
        expected = theirs(x)
        torch.testing.assert_close(ours(x), expected, atol=1e-4, rtol=0)
        features = ours.features(x)
    assert expected.std() > 0.1, "logits that hardly vary would tell nothing"
    assert [layout.grid for _, layout in features] == [(56, 56), (28, 28), (14, 14), (7, 7)]
    for (tokens, _), image in zip(features, seen, strict=True):
        torch.testing.assert_close(tokens, image.flatten(2).transpose(1, 2), atol=1e-4, rtol=0)


@pytest.mark.row(SLUG, 0)
def test_features_are_those_timm_shows():
    """What timm's features_only gives for pvt_v2_b0 are our stages' tokens, to 1e-4, at 96 x 128 too."""
    shown = reference("pvt_v2_b0", features_only=True)
    ours, theirs = matched("pvt-v2-b0", "pvt_v2_b0")
    shown.load_state_dict({key.replace("stages.", "stages_"): v for key, v in theirs.state_dict().items()
                           if not key.startswith("head.")})  # fmt: skip
    x = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        for (tokens, layout), image in zip(ours.features(x), shown(x), strict=True):
            assert layout.grid == tuple(image.shape[2:])
            torch.testing.assert_close(tokens, image.flatten(2).transpose(1, 2), atol=1e-4, rtol=0)


@pytest.mark.row(SLUG, 1)
@pytest.mark.parametrize(
    ("size", "count"), [("b0", 3_666_760), ("b1", 14_009_000), ("b2", 25_362_856), ("b2-li", 22_553_512)]
)
def test_published_size(size, count):
    """B0 has exactly 3,666,760 parameters, B1 14,009,000, B2 25,362,856 and B2-Li 22,553,512."""
    assert sum(p.numel() for p in built(f"pvt-v2-{size}").parameters()) == count


@pytest.mark.parametrize(("size", "count"), [("b3", 45.2), ("b4", 62.6), ("b5", 82.0)])
def test_larger_sizes_of_the_paper(size, count):
    """B3, B4 and B5 have the millions of parameters that the paper's table rounds to."""
    assert sum(p.numel() for p in built(f"pvt-v2-{size}").parameters()) / 1e6 == pytest.approx(count, abs=0.06)


def built(size: str) -> nn.Module:
    with torch.device("meta"):
        return find_entry(SLUG).spec(size).fill(**FACTS).build().eval()


def macs(size: str, side: int) -> dict[str, float]:
    """Multiplications with additions for one square image: of all, of the mixers, of their scores and weighted sums."""
    model = built(size)
    with torch.no_grad(), FlopCounterMode(display=False, depth=4) as counter:
        model(torch.empty(1, 3, side, side, device="meta"))
    counts = counter.get_flop_counts()
    mixers = [counts[f"{type(model).__name__}.blocks.{i}.mixer"] for i in range(len(model.blocks))]
    scores = sum(mixer[torch.ops.aten.bmm] for mixer in mixers)
    return {"all": sum(counts["Global"].values()) / 2, "mixers": sum(sum(m.values()) for m in mixers) / 2,
            "scores": scores / 2}  # fmt: skip


@pytest.mark.row(SLUG, 1)
def test_arithmetic():
    """B0 takes 0.57 GMACs for an image of 224 x 224, within 2 percent."""
    assert macs("pvt-v2-b0", 224)["all"] == pytest.approx(0.57e9, rel=0.02)


@pytest.mark.row(SLUG, 2)
def test_linear_attention_is_linear():
    """From 224 to 896 pixels a side B2-Li's attention grows with exponent 1.0 +- 0.05 in MACs, B2's with more than 1.3.

    These are the scores and the weighted sums of values: 1.00 and 2.00. With projections and reductions, of which the
    linear variant's are in part the same for every image, it is 0.90 and 1.41.
    """
    found = {}
    for size in ("pvt-v2-b2-li", "pvt-v2-b2"):
        small, large = macs(size, 224), macs(size, 896)
        found[size] = {what: math.log(large[what] / small[what], 16) for what in small}
    assert found["pvt-v2-b2-li"]["scores"] == pytest.approx(1.0, abs=0.05), found
    assert found["pvt-v2-b2-li"]["mixers"] < 1.0, found
    assert found["pvt-v2-b2"]["scores"] > 1.3 and found["pvt-v2-b2"]["mixers"] > 1.3, found


def moved_squares(x: Tensor, grid: tuple[int, int], square: int, order: Tensor) -> Tensor:
    """The tokens with the grid's squares put in another order."""
    down, across = grid[0] // square, grid[1] // square
    squares = x.unflatten(1, (down, square, across, square)).transpose(2, 3).flatten(1, 2)[:, order]
    return squares.unflatten(1, (down, across)).transpose(2, 3).flatten(1, 4)


@pytest.mark.row(SLUG, 3)
@pytest.mark.parametrize("stage", range(4))
def test_position_comes_from_the_padding(stage):
    """Without the depthwise convolution, moving R x R squares of a stage's input changes its mean by less than 1e-4.

    With the convolution the mean moves by more than 1e-2. Squares are moved whole, for each is one key: within a square
    the reducing convolution tells places apart too. In the last stage R is 1, and every token is moved. The grid is of
    2 x 2 squares, so that the border, from which positions come, is a fair part of it: 0.01 to 0.2 over seeds.
    """
    square = (8, 4, 2, 1)[stage]
    grid = (2 * square, 2 * square)
    spec = find_entry(SLUG).spec("pvt-v2-b0", drop=0.0).fill(**FACTS)
    moves = {}
    for name in ("with", "without"):
        torch.manual_seed(stage)
        model = spec.build().double().eval()
        x = torch.randn(2, grid[0] * grid[1], spec["dims"][stage], dtype=torch.float64)
        order = torch.tensor([1, 3, 0, 2])
        means = []
        for tokens in (x, moved_squares(x, grid, square, order)):
            for block in model.blocks[2 * stage : 2 * stage + 2]:
                tokens = block(tokens, Layout(grid=grid))
            means.append(model.norms[stage](tokens).mean(dim=1))
        moves[name] = (means[0] - means[1]).abs().max().item()
        hidden = spec.at(f"stages[{stage}][0].channels.hidden")
        spec = spec.replace(f"stages[{stage}][*].channels", MLP.spec(hidden=hidden))
    assert moves["without"] < 1e-4, moves
    assert moves["with"] > 1e-2, moves


def test_reduction_is_plain_attention_over_fewer_keys():
    """Spatial-reduction attention is softmax(q k^T / sqrt(head_dim)) v with k and v of the reduced tokens."""
    torch.manual_seed(0)
    spec = find_entry(SLUG).spec("pvt-v2-b0").at("stages[0][0].mixer")
    part = spec.build(dim=32).double()
    x, layout = torch.randn(2, 16 * 24, 32, dtype=torch.float64), Layout(grid=(16, 24))
    image = x.transpose(1, 2).unflatten(2, layout.grid)
    conv, norm = part.reduce.parts
    keys = norm(nn.functional.conv2d(image, conv.conv.weight, conv.conv.bias, stride=8).flatten(2).transpose(1, 2))
    assert keys.shape == (2, 6, 32)
    q = x @ part.attention.qkv.weight[:32].T + part.attention.qkv.bias[:32]
    k, v = (keys @ part.attention.qkv.weight[32:].T + part.attention.qkv.bias[32:]).chunk(2, dim=-1)
    expected = part.attention.out((q @ k.transpose(1, 2) / math.sqrt(32)).softmax(-1) @ v)
    torch.testing.assert_close(part(x, layout), expected, atol=1e-12, rtol=0)


def test_reduction_spares_work():
    """On 56 x 56 tokens, one key of 8 x 8 takes less than a tenth of plain attention's arithmetic."""
    spec = find_entry(SLUG).spec("pvt-v2-b0").at("stages[0][0].mixer")
    x, layout = torch.randn(1, 56 * 56, 32), Layout(grid=(56, 56))
    parts = (spec.build(dim=32), Attention.spec(heads=1).build(dim=32))
    with torch.no_grad():
        small, large = (work(lambda part=part: part(x, layout)) for part in parts)
    assert small < large / 10


def test_attention_must_take_a_memory():
    """A mixer that cannot attend elsewhere is refused in words."""
    from variorum.layers.merges.depthwise import DepthwiseMerge
    from variorum.layers.patterns.causal import Causal

    spec = SpatialReductionAttention.spec(reduce=DepthwiseMerge.spec(), attention=Attention.spec(pattern=Causal.spec()))
    with pytest.raises(VariorumError, match="attends to a memory"):
        spec.build(dim=16)


@pytest.mark.parametrize("side", [4, 8, 9, 28])
def test_the_laptop_size_takes_small_images(side):
    """The model that ``variorum compare`` tries answers images of 8 x 8 and, down to 4 x 4, smaller ones."""
    spec = find_entry(SLUG).fit("images").fill(channels=1, height=side, width=side, classes=10)
    out = spec.build().eval()(torch.randn(2, 1, side, side))
    assert out.shape == (2, 10) and out.isfinite().all()


def test_images_too_small_are_refused():
    """An image of which no square is left to reduce is refused in words."""
    model = find_entry(SLUG).fit("images").fill(channels=1, height=8, width=8, classes=10).build()
    with pytest.raises(VariorumError, match="at least 2 x 2"):
        model(torch.randn(1, 1, 2, 2))


@pytest.mark.slow
def test_claim_overlap_improves() -> None:
    """A fresh run of OverlapImproves comes out as CLAIMS.md has it."""
    bears_out("OverlapImproves")
