"""The U: down, up, joined at each stage; and the one that answers at coarser grids while it learns."""

import pytest
import torch
from torch import Tensor

from variorum.core import Answers, Layout, VariorumError, listen
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.patches import Patches
from variorum.layers.expands.patch import PatchExpand
from variorum.layers.heads.segmenter import Segmenter
from variorum.layers.merges.patch import PatchMerge
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.models.blocks.block import Block
from variorum.models.deeply_supervised import DeeplySupervised
from variorum.models.u_shape import UShape, cut

BLOCK = Block.spec(mixer=Attention.spec(heads=2), channels=MLP.spec())
HEAD = Segmenter.spec(expand=PatchExpand.spec(patch=(2, 2)))
U = UShape.spec(
    dims=(8, 16, 24),
    embed=Patches.spec(patch=2),
    stages=[[BLOCK], [BLOCK, BLOCK], [BLOCK]],
    merges=[PatchMerge.spec()] * 2,
    expands=[PatchExpand.spec()] * 2,
    ups=[[BLOCK], [BLOCK, BLOCK]],
    head=HEAD,
    turn=LayerNorm.spec(),
)
FACTS = {"channels": 3, "height": 12, "width": 20, "classes": 4}


def built(spec=U):
    torch.manual_seed(0)
    return spec.fill(**FACTS).build().eval()


def test_it_is_its_equation():
    """Step by step: e_1, e_2, e_3 down, then each expanded, cut, joined with its skip, and through its layers.

    The grid is 6 x 10, then 3 x 5, then 2 x 3: on the way up 4 x 6 is cut to 3 x 5.
    """
    model, x = built(), torch.randn(2, 3, 12, 20)

    def through(tokens: Tensor, layout: Layout, *blocks: int) -> Tensor:
        for block in blocks:
            tokens = model.blocks[block](tokens, layout)
        return tokens

    def smaller(tokens: Tensor, grid: tuple[int, int], to: tuple[int, int]) -> Tensor:
        return tokens.unflatten(1, grid)[:, : to[0], : to[1]].flatten(1, 2)

    first, fine = model.embed(x)
    first = through(first, fine, 0)
    second, middle = model.merges[0](first, fine)
    second = through(second, middle, 1, 2)
    third, coarse = model.merges[1](second, middle)
    third = model.turn(through(third, coarse, 3))
    assert (fine.grid, middle.grid, coarse.grid) == ((6, 10), (3, 5), (2, 3))
    up = smaller(model.expands[1](third, coarse)[0], (4, 6), (3, 5))
    up = through(model.joins[1](up, second), middle, 4, 5)
    top = model.expands[0](up, middle)[0]
    top = through(model.joins[0](top, first), fine, 6)
    answer = model.head(model.norm(top), fine)
    assert answer.shape == (2, 12, 20, 4)
    torch.testing.assert_close(model(x), answer, atol=0, rtol=0)
    for (found, layout), (wanted, lies) in zip(
        model.features(x), ((top, fine), (up, middle), (third, coarse)), strict=True
    ):
        assert layout.grid == lies.grid and torch.equal(found, wanted)


def test_blocks_are_numbered_down_and_up():
    model = built()
    with listen(model, "blocks.*.mixer.weights") as told:
        model(torch.randn(1, 3, 12, 20))
    tokens = [told[f"blocks.{i}.mixer.weights"][0].shape[-1] for i in range(7)]
    assert tokens == [60, 15, 15, 6, 15, 15, 60]


def test_cutting_keeps_the_first_cells():
    x = torch.arange(12.0).view(1, 12, 1)
    layout = Layout(grid=(3, 4))
    assert cut(x, layout, Layout(grid=(2, 3))).flatten().tolist() == [0, 1, 2, 4, 5, 6]
    assert cut(x, layout, layout) is x and cut(x, layout, None) is x


def test_patch_expand_puts_cells_where_the_patch_was():
    """With the rows of W counting, each patch becomes a box whose cells hold consecutive numbers."""
    part = PatchExpand.spec(patch=(2, 3)).build(source=1, dim=2)
    with torch.no_grad():
        part.expand.weight.copy_(torch.arange(12.0)[:, None])
    part.norm = torch.nn.Identity()
    y, layout = part(torch.tensor([[[1.0], [10.0]]]), Layout(grid=(1, 2)))
    assert layout.grid == (2, 6)
    box = torch.arange(12.0).view(2, 3, 2)
    assert torch.equal(y[0].view(2, 6, 2), torch.cat([box, 10 * box], dim=1))


def test_answers_while_it_learns_and_after():
    """In training every stage answers, each counting half the one before; after it only the finest, as the U alone."""
    model = built(DeeplySupervised.spec(model=U, heads=[HEAD, HEAD]))
    x = torch.randn(2, 3, 12, 20)
    with torch.no_grad():
        after, during = model(x), model.train()(x)
    assert isinstance(after, Tensor) and torch.equal(after, model.model(x))
    assert isinstance(during, Answers) and torch.equal(during.each[0], after)
    assert [tuple(answer.shape[1:3]) for answer in during.each] == [(12, 20), (6, 10), (4, 6)]
    assert during.weights == pytest.approx((4 / 7, 2 / 7, 1 / 7))


def test_what_does_not_fit_is_refused():
    with pytest.raises(VariorumError, match=r"found 3 widths, 3 stages, 2 merges, 1 expands"):
        built(U.but(expands=[PatchExpand.spec()]))
    with pytest.raises(VariorumError, match="1 to 2 heads"):
        built(DeeplySupervised.spec(model=U, heads=[]))
