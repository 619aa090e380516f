"""CrossViT: two branches of different patch size that exchange class tokens."""

import math

import pytest
import torch
from torch import Tensor, nn

from house.kept import bears_out
from standins import torchvision_standin
from variorum.core import Layout, VariorumError, find_entry, listen
from variorum.layers.embed.class_token import ClassToken
from variorum.layers.embed.patches import Patches
from variorum.layers.embed.resized import Resized
from variorum.layers.fusions.class_cross import ClassCross
from variorum.layers.mixers.attention import Attention
from variorum.layers.positions.learned import LearnedPosition
from variorum.testing.memory import peak_bytes
from variorum.testing.work import work

SLUG = "crossvit"
FACTS = {"channels": 3, "height": 240, "width": 240, "classes": 1000}


def reference(name: str) -> nn.Module:
    """A timm model with random weights; norms and biases moved away from where they start."""
    with torchvision_standin.installed():
        import timm

        torch.manual_seed(0)
        model = timm.create_model(name).eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            if value.dim() == 1:
                value.uniform_(0.5, 1.5) if key.endswith("weight") else value.normal_(std=0.1)
            elif value.dim() == 2:
                value.mul_(3)  # of 0.02: so that attention is far from even
    return model


def copy(ours: nn.Module, theirs: nn.Module) -> None:
    for mine, value in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        mine.copy_(value.reshape(mine.shape))


def joined(theirs: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of queries, keys and values as one matrix."""
    parts = (theirs.wq, theirs.wk, theirs.wv)
    return torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])


@torch.no_grad()
def copy_crossvit(ours: nn.Module, theirs: nn.Module) -> None:
    for b, embed in enumerate(ours.embeds):
        embed.token.copy_(getattr(theirs, f"cls_token_{b}").flatten())
        embed.position.weight.copy_(getattr(theirs, f"pos_embed_{b}")[0])
        inner = embed.embed.embed if isinstance(embed.embed, Resized) else embed.embed
        copy(inner.project if isinstance(inner, Patches) else inner.convs, theirs.patch_embed[b].proj)
        copy(ours.norms[b], theirs.norm[b])
        copy(ours.heads[b].linear, theirs.head[b])
    for block, other in zip(ours.blocks, theirs.blocks, strict=True):
        for layers, others in zip(block.branches, other.blocks, strict=True):
            for layer, one in zip(layers, others, strict=True):
                copy(layer.mixer_residual.norm, one.norm1)
                copy(layer.mixer.qkv, one.attn.qkv)
                copy(layer.mixer.out, one.attn.proj)
                copy(layer.channels_residual.norm, one.norm2)
                copy(layer.channels, one.mlp)
        for a, (mine, fused) in enumerate(zip(block.fusion.mixers, other.fusion, strict=True)):
            copy(block.fusion.there[a], other.projs[a])
            copy(block.fusion.back[a], other.revert_projs[a])
            copy(block.fusion.norms[a], fused.norm1)
            copy(mine.out, fused.attn.proj)
            for parameter, value in zip((mine.qkv.weight, mine.qkv.bias), joined(fused.attn), strict=True):
                parameter.copy_(value)


@pytest.mark.row(SLUG, 0)
@pytest.mark.parametrize(
    ("size", "name"), [("crossvit-ti", "crossvit_tiny_240"), ("crossvit-9-dagger", "crossvit_9_dagger_240")]
)
def test_equals_timm(size, name):
    """Logits equal those of timm's crossvit_tiny_240 and crossvit_9_dagger_240 to 1e-4, on two images of 240 x 240."""
    theirs = reference(name)
    ours = find_entry(SLUG).spec(size, drop=0.0).fill(**FACTS).build().eval()
    copy_crossvit(ours, theirs)
    x = torch.randn(2, 3, 240, 240)
    with torch.no_grad():
        expected = theirs(x)
        torch.testing.assert_close(ours(x), expected, atol=1e-4, rtol=0)
    assert (expected[0] - expected[1]).abs().max() > 0.01, "answers that hardly vary would tell nothing"


@pytest.mark.row(SLUG, 1)
@pytest.mark.parametrize(
    ("size", "millions"),
    [
        ("ti", 7.01),
        ("9", 8.55),
        ("s", 26.86),
        ("b", 105.03),
        ("15", 27.53),
        ("18", 43.27),
        ("9-dagger", 8.78),
        ("15-dagger", 28.21),
        ("18-dagger", 44.27),
    ],
)
def test_published_size(size, millions):
    """CrossViT-Ti has 7.01M parameters, 9 has 8.55M, S has 26.86M, within 1 percent; so have the other sizes theirs."""
    with torch.device("meta"):
        model = find_entry(SLUG).spec(f"crossvit-{size}").fill(**FACTS).build()
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(millions * 1e6, rel=0.01)


@pytest.mark.row(SLUG, 2)
def test_one_query_is_row_0_of_full_attention():
    """The fusion's attention with one query equals row 0 of full self-attention over [CLS', patches], to 1e-6."""
    torch.manual_seed(0)
    fusion = ClassCross.spec(dims=(48, 96), mixer=Attention.spec(heads=3)).build()
    xs = [torch.randn(2, 17, 48), torch.randn(2, 10, 96)]
    found = fusion(xs, [None, None])
    for a, b in ((0, 1), (1, 0)):
        token = fusion.there[a](xs[a][:, :1])
        full = fusion.mixers[a](fusion.norms[a](torch.cat([token, xs[b][:, 1:]], dim=1)))[:, :1]
        torch.testing.assert_close(found[a][:, :1], fusion.back[a](token + full), atol=1e-6, rtol=0)
        assert torch.equal(found[a][:, 1:], xs[a][:, 1:]), "patches must stay as they are"


def exponent(costs: list[int], lengths: tuple[int, ...]) -> float:
    """Slope of the least-squares line through (log n, log cost)."""
    x, y = (torch.tensor(values, dtype=torch.float64).log() for values in (lengths, costs))
    return ((x - x.mean()) * (y - y.mean())).sum().item() / (x - x.mean()).square().sum().item()


@pytest.mark.row(SLUG, 2)
def test_fusion_is_linear():
    """For 256, 1024 and 4096 patches FLOPs and peak memory of the fusion fit n^0.9 to n^1.1, full attention's over 1.7.

    Both are asked for their weights, so that both form them: what a fused kernel keeps in memory is its own affair.
    """
    lengths, dim = (256, 1024, 4096), 32
    fusion = ClassCross.spec(dims=(dim, dim), mixer=Attention.spec(heads=2)).build()
    full = Attention.spec(heads=2).build(dim=dim)
    costs: dict[str, list[int]] = {}
    with torch.no_grad(), listen(fusion, "mixers.*.weights"), listen(full, "weights"):
        for n in lengths:
            x = torch.randn(1, n + 1, dim)
            calls = {"fusion": lambda x=x: fusion([x, x], [None, None]), "full": lambda x=x: full(x)}
            for name, call in calls.items():
                costs.setdefault(f"{name} flops", []).append(work(call))
                costs.setdefault(f"{name} memory", []).append(peak_bytes(call))
    found = {name: exponent(values, lengths) for name, values in costs.items()}
    assert all(0.9 < found[f"fusion {what}"] < 1.1 for what in ("flops", "memory")), found
    assert all(found[f"full {what}"] > 1.7 for what in ("flops", "memory")), found


def test_branches_see_the_image_in_their_sizes():
    """Of 240 x 240 pixels the small branch has 20 x 20 patches and a class token, the large one 14 x 14."""
    with torch.device("meta"):
        model = find_entry(SLUG).spec("crossvit-ti").fill(**FACTS).build()
        found = model.features(torch.empty(1, 3, 240, 240))
    assert [tuple(x.shape) for x, _ in found] == [(1, 401, 96), (1, 197, 192)]
    assert math.isclose(find_entry(SLUG).spec("crossvit-ti")["embeds"][1]["embed"]["scale"], 224 / 240)


def test_weights_of_the_fusion_can_be_heard():
    """Hooks name layers of each branch and the fusion; a class token's weights over the other's patches add to 1."""
    model = find_entry(SLUG).fit("images", blocks=2).fill(channels=1, height=8, width=8, classes=10).build().eval()
    with listen(model, "blocks.0.fusion.mixers.*.weights", "blocks.1.branches.1.*.mixer.weights") as told:
        model(torch.randn(2, 1, 8, 8))
    assert [value[0].shape for name, value in told.items() if "fusion" in name] == [(2, 2, 1, 5), (2, 2, 1, 17)]
    assert len(told) == 4 and all(torch.allclose(v[0].sum(-1), torch.ones(())) for v in told.values())


def test_resized_images_tell_positions_how_many_tokens_there_are():
    """An embed inside is told the resized sides, however deep it lies, so that learned positions fit."""
    inner = ClassToken.spec(embed=Patches.spec(patch=4), position=LearnedPosition.spec())
    embed = Resized.spec(embed=inner, scale=0.5).fill(channels=1, height=16, width=32).build(dim=8)
    assert embed.tokens == 2 * 4 + 1 and embed.embed.position.length == 9
    assert embed(torch.randn(1, 1, 16, 32))[0].shape == (1, 9, 8)


def test_packed_branches_are_refused():
    """The fusion puts branches side by side row by row: packed rows are refused in words."""
    fusion = ClassCross.spec(dims=(8, 8), mixer=Attention.spec(heads=2)).build()
    layout = Layout.ragged([2, 3])
    with pytest.raises(VariorumError, match="equal rows in every branch"):
        fusion([torch.randn(5, 8), torch.randn(5, 8)], [layout, layout])


@pytest.mark.parametrize("side", [4, 8, 28])
def test_the_laptop_size_takes_small_images(side):
    """The model that ``variorum compare`` tries answers images down to 4 x 4 pixels."""
    spec = find_entry(SLUG).fit("images").fill(channels=1, height=side, width=side, classes=10)
    out = spec.build().eval()(torch.randn(2, 1, side, side))
    assert out.shape == (2, 10) and out.isfinite().all()


@pytest.mark.slow
def test_claim_two_scales_beat_one() -> None:
    """A fresh run of TwoScalesBeatOne comes out as CLAIMS.md has it."""
    bears_out("TwoScalesBeatOne")
