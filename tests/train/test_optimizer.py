"""AdamW: what it draws to zero, and its step."""

import pytest
import torch
from torch import nn

from variorum.core import VariorumError
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.unembed import Unembed
from variorum.layers.positions.learned import LearnedPosition
from variorum.models.stack import Stack
from variorum.train.optimizer import AdamW, decayed


def test_only_matrices_that_map_features_are_decayed(spec):
    model = spec.fill(vocab=32, length=8).build()
    assert decayed(model) == {
        "blocks.0.mixer.qkv.weight", "blocks.0.mixer.out.weight",
        "blocks.0.channels.up.weight", "blocks.0.channels.down.weight", "head.linear.weight",
    }  # fmt: skip


def test_a_head_tied_to_the_embedding_is_not_decayed():
    embed = TokenEmbed.spec(vocab=8, position=LearnedPosition.spec(length=4))
    tied = [("head.linear.weight", "embed.token.weight")]
    model = Stack.spec(dim=4, embed=embed, blocks=[], head=Unembed.spec(vocab=8), tied=tied).build()
    assert decayed(model) == set()


def test_a_lone_token_is_not_decayed_and_a_kernel_is():
    model = nn.Module()
    model.token = nn.Parameter(torch.zeros(1, 1, 8))
    model.kernel = nn.Conv2d(1, 2, 3)
    assert decayed(model) == {"kernel.weight"}


def test_every_trainable_parameter_is_in_one_group(spec):
    model = spec.fill(vocab=32, length=8).build()
    model.embed.token.weight.requires_grad_(False)
    groups = AdamW().over(model).param_groups
    inside = [p for group in groups for p in group["params"]]
    assert {id(p) for p in inside} == {id(p) for p in model.parameters() if p.requires_grad}
    assert len(inside) == len({id(p) for p in inside})


def test_three_steps_are_those_of_the_paper():
    """Algorithm 2 of Loshchilov & Hutter 2019 with the rate inside the decay, in plain numbers."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    optimizer = AdamW(lr=0.1, betas=(0.8, 0.9), weight_decay=0.3, eps=1e-6).over(model)
    expected = {name: p.detach().clone() for name, p in model.named_parameters()}
    first, second = ({name: torch.zeros_like(p) for name, p in expected.items()} for _ in range(2))
    for step in (1, 2, 3):
        for name, parameter in model.named_parameters():
            parameter.grad = gradient = torch.randn_like(parameter)
            first[name] = 0.8 * first[name] + 0.2 * gradient
            second[name] = 0.9 * second[name] + 0.1 * gradient**2
            move = first[name] / (1 - 0.8**step) / ((second[name] / (1 - 0.9**step)).sqrt() + 1e-6)
            decay = 0.3 if name == "weight" else 0.0
            expected[name] = expected[name] - 0.1 * (move + decay * expected[name])
        optimizer.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("args", [{"lr": 0.0}, {"betas": (0.9, 1.0)}, {"weight_decay": -1.0}, {"eps": 0.0}])
def test_bad_values_are_refused(args):
    with pytest.raises(VariorumError, match="AdamW"):
        AdamW(**args)
