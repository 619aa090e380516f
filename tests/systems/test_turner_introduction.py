"""The note's Transformer body: the library's block against the note, token by token, and against torch's layer."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from systems.formal_library import turner_block
from variorum.core import find_entry
from variorum.explain.formal import turner
from variorum.explain.formal.page import formulas, page
from variorum.layers.channels.mlp import MLP
from variorum.layers.mixers.attention import Attention
from variorum.layers.patterns.causal import Causal
from variorum.layers.patterns.full import Full
from variorum.layers.positions.learned import LearnedPosition
from variorum.models.blocks.block import Block

SLUG = "turner-introduction"
EPS, DIM, HEADS, HIDDEN = 1e-5, 12, 3, 20


def blocks(pattern, depth=2):
    """The library's blocks in float64, with weights drawn anew and no biases in attention."""
    torch.manual_seed(0)
    mixer = Attention.spec(heads=HEADS, pattern=pattern)
    built = [Block.spec(mixer=mixer, channels=MLP.spec(hidden=HIDDEN)).build(dim=DIM).double() for _ in range(depth)]
    for parameter in (p for b in built for p in b.parameters()):
        nn.init.normal_(parameter, std=0.4)
    for block in built:
        nn.init.zeros_(block.mixer.qkv.bias)
        nn.init.zeros_(block.mixer.out.bias)
    return built


def run(built, x):
    for block in built:
        x = block(x)
    return x


def torch_layer(block):
    layer = nn.TransformerEncoderLayer(DIM, HEADS, HIDDEN, dropout=0.0, activation="gelu", norm_first=True,
                                       batch_first=True, dtype=torch.float64).eval()  # fmt: skip
    pairs = [
        (layer.self_attn.in_proj_weight, block.mixer.qkv.weight), (layer.self_attn.in_proj_bias, block.mixer.qkv.bias),
        (layer.self_attn.out_proj.weight, block.mixer.out.weight),
        (layer.self_attn.out_proj.bias, block.mixer.out.bias),
        (layer.linear1.weight, block.channels.up.weight), (layer.linear1.bias, block.channels.up.bias),
        (layer.linear2.weight, block.channels.down.weight), (layer.linear2.bias, block.channels.down.bias),
        (layer.norm1.weight, block.mixer_residual.norm.weight), (layer.norm1.bias, block.mixer_residual.norm.bias),
        (layer.norm2.weight, block.channels_residual.norm.weight),
        (layer.norm2.bias, block.channels_residual.norm.bias),
    ]  # fmt: skip
    with torch.no_grad():
        for theirs, ours in pairs:
            theirs.copy_(ours)
    return layer


@pytest.mark.row(SLUG, 0)
@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("causal", [False, True])
def test_block_is_the_notes_and_torchs(causal, n):
    """The library's blocks are the note's, written token by token, to 1e-10, and torch's pre-norm layers to 1e-6."""
    built = blocks(Causal.spec() if causal else Full.spec())
    x = torch.randn(1, n, DIM, dtype=torch.float64)
    mask = turner.auto_regressive_mask(n) if causal else turner.set_mask(n)
    ours = run(built, x)
    note = turner.transformer(x[0].T.numpy(), blocks=tuple(map(turner_block, built)), mask=mask, eps=EPS)
    np.testing.assert_allclose(ours[0].T.detach().numpy(), note, rtol=0, atol=1e-10)
    sight = nn.Transformer.generate_square_subsequent_mask(n, dtype=torch.float64) if causal else None
    theirs = x
    for block in built:
        theirs = torch_layer(block)(theirs, src_mask=sight)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


@pytest.mark.row(SLUG, 1)
def test_permutation_equivariance_holds_without_positions_and_fails_with():
    """Permuting tokens permutes the output, to 1e-10 (20 permutations); with positions it differs by over 1e-3."""
    built, x = blocks(Full.spec()), torch.randn(1, 7, DIM, dtype=torch.float64)
    place = LearnedPosition.spec(length=7, std=1.0).build(dim=DIM).double()
    for seed in range(20):
        order = torch.randperm(7, generator=torch.Generator().manual_seed(seed))
        assert (run(built, x[:, order]) - run(built, x)[:, order]).abs().max() <= 1e-10
        if not torch.equal(order, torch.arange(7)):
            assert (run(built, place(x[:, order])) - run(built, place(x))[:, order]).abs().max() > 1e-3


@pytest.mark.row(SLUG, 2)
def test_nothing_after_a_token_changes_it():
    """Under the auto-regressive mask outputs up to n do not move when later tokens do (1e-12)."""
    built, x = blocks(Causal.spec()), torch.randn(1, 9, DIM, dtype=torch.float64)
    for n in range(1, 9):
        other = torch.cat([x[:, :n], torch.randn(1, 9 - n, DIM, dtype=torch.float64)], dim=1)
        assert (run(built, x)[:, :n] - run(built, other)[:, :n]).abs().max() <= 1e-12


@pytest.mark.row(SLUG, 2)
def test_incremental_computation_equals_the_parallel_pass():
    """Token by token with cached keys and values equals the parallel pass for every prefix (1e-10)."""
    built, x = blocks(Causal.spec()), torch.randn(2, 9, DIM, dtype=torch.float64)
    states, outputs = [block.start(2) for block in built], []
    for t in range(9):
        y = x[:, t]
        for i, block in enumerate(built):
            y, states[i] = block.step(y, states[i])
        outputs.append(y)
        parallel = run(built, x[:, : t + 1])
        assert (torch.stack(outputs, dim=1) - parallel).abs().max() <= 1e-10


@pytest.mark.row(SLUG, 3)
def test_page_of_the_note_is_made_from_the_executable_note():
    """Every section of the documentation page is an executable function of the specification, and none is left out."""
    anchors = re.findall(r"\]\(#([a-z0-9-]+)\)", page(SLUG))
    assert anchors
    assert set(anchors) == set(formulas(SLUG))


def test_published_size():
    """ViT-B/16, the note's body in its best-known size, has 86.6 million parameters."""
    with torch.device("meta"):
        model = find_entry(SLUG).spec("vit-base-16").fill(channels=3, height=224, width=224, classes=1000).build()
    assert sum(p.numel() for p in model.parameters()) == 86_567_656
