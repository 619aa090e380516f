"""Adaptive computation modules: gated execution, conversion of a trained model, and its three stages."""

import time

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from house.kept import bears_out
from variorum.compress.adaptive_modules import adaptive_modules
from variorum.compress.budgeted import fine_tune, mean_cost, used
from variorum.compress.module_distillation import errors, least_enough, teach_gates, teach_learners
from variorum.core import Part, VariorumError
from variorum.data.one_shape import OneShape
from variorum.layers.embed.class_token import ClassToken
from variorum.layers.embed.patches import Patches
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.projections.adaptive_computation import AdaptiveComputation
from variorum.systems.acm import EVERYWHERE, acmized, vit
from variorum.systems.turner_introduction import encoder
from variorum.train.descent import Descent
from variorum.train.optimizer import AdamW
from variorum.train.recipe import Budget, Run

SLUG = "acm"


def part(source: int = 7, dim: int = 5, learners: int = 4) -> AdaptiveComputation:
    made = AdaptiveComputation(source, dim, learners=learners, width=3 * learners, gate=6)
    with torch.no_grad():
        made.down_bias.normal_()
        made.up_bias.normal_()
        made.gate[0].weight.mul_(5)
    return made.eval()


@pytest.mark.row(SLUG, 0)
@pytest.mark.parametrize("tokens", [0, 1, 2, 63])
@pytest.mark.parametrize("seed", range(5))
def test_gated_execution_equals_computing_all(tokens, seed):
    """On random tokens and counts the learners that run give h(x, k) of the dense path, to 1e-5, as prefixes do."""
    torch.manual_seed(seed)
    made, x = part(), torch.randn(tokens, 7)
    counts = torch.randint(5, (tokens,))
    dense = made.weighed(x, torch.nn.functional.one_hot(counts, 5).float())
    torch.testing.assert_close(made.gated(x, counts), dense, atol=1e-5, rtol=0)
    prefixes = torch.cat([torch.zeros(1, tokens, 5), made.prefixes(x, detached=False)])
    torch.testing.assert_close(prefixes[counts, torch.arange(tokens)], dense, atol=1e-5, rtol=0)
    chosen = made.gate(x).argmax(-1)
    torch.testing.assert_close(made(x), prefixes[chosen, torch.arange(tokens)], atol=1e-5, rtol=0)


@pytest.mark.row(SLUG, 0)
@pytest.mark.parametrize("counts", [[0, 1, 2, 3, 4, 4, 2], [0] * 7, [4] * 7])
def test_flops_are_those_of_the_learners_that_run(counts):
    """FLOPs counted while it runs are the sum over tokens of k times a learner's cost, exactly; and the gate's."""
    torch.manual_seed(0)
    made, x, k = part(), torch.randn(7, 7), torch.tensor(counts)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        made.gated(x, k)
    assert counter.get_total_flops() == sum(counts) * made.cost
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        made(x)
    chosen = int(made.gate(x).argmax(-1).sum())
    assert counter.get_total_flops() == chosen * made.cost + len(x) * made.gate_cost


@pytest.mark.row(SLUG, 2)
def test_a_detached_learner_is_moved_by_its_own_prefix_alone():
    """The gradient of learner n from the loss of prefix k > n is zero with detach on, and not zero with it off."""
    torch.manual_seed(0)
    made, x, wanted = part(), torch.randn(9, 7), torch.randn(9, 5)
    for detached in (True, False):
        for k in range(1, 5):
            error = (made.prefixes(x, detached=detached)[k - 1] - wanted).square().mean()
            for parameter in (made.up, made.up_bias, made.down, made.down_bias):
                moved = torch.autograd.grad(error, parameter, retain_graph=True)[0].flatten(1).abs().amax(dim=1) > 0
                assert moved.tolist() == [n == k - 1 if detached else n < k for n in range(4)]


def trained(steps: int, dim: int = 32) -> tuple[Part, OneShape]:
    task = OneShape(side=16, rows=128)
    embed = ClassToken.spec(embed=Patches.spec(patch=4), position=LearnedPosition.spec())
    spec = encoder(dim=dim, depth=2, heads=4, embed=embed)
    recipe = Descent(batch=32, evaluations=0, optimizer=AdamW.spec(lr=2e-3))
    return recipe.train(spec, task, Run(Budget(steps=steps))), task


@pytest.mark.row(SLUG, 1)
def test_conversion_replaces_the_named_modules_alone():
    """Feed-forward networks and projections are replaced where they are named; all other weights are the same bits."""
    model, task = trained(2)
    for names in (EVERYWHERE, ("blocks.1.channels",), ("blocks.0.mixer",)):
        small, pairs = adaptive_modules(model, names)
        maps = {name for name, m in small.named_modules() if isinstance(m, AdaptiveComputation)}
        assert maps == {pair.student for pair in pairs}
        assert len(maps) == {EVERYWHERE: 10, ("blocks.1.channels",): 1, ("blocks.0.mixer",): 4}[names]
        others = {n: t for n, t in small.state_dict().items() if not n.startswith(tuple(f"{m}." for m in maps))}
        assert others and all(torch.equal(t, model.state_dict()[n]) for n, t in others.items())
        assert small.built_from is not None and small(**next(iter(task.held_out("test", 4))).inputs).isfinite().all()


@pytest.mark.slow
@pytest.mark.row(SLUG, 1)
def test_learners_come_near_what_they_stand_for():
    """After at most 30 s of module-wise distillation the error of h(x, N) is under 10% of the answer's length in each
    feed-forward network of a small ViT, and the error of h(x, k) does not rise with k (by 0.002 at most), on held-out
    pictures; in its projections it does not rise either, once they have been taught as long (after a quarter of the
    steps learners that are half taught spoil what those before them say by up to 0.0028). At equal cost the learners of
    a D x D projection have D / 2 units together, which cannot hold its rank: 0.07 to 0.17 is left of it.
    """
    model, task = trained(150)
    for names, most in ((("blocks.*.channels",), 0.1), (("blocks.*.mixer",), 0.3)):
        small, pairs = adaptive_modules(model, names)
        began = time.process_time()
        teach_learners(small, model, pairs, task, steps=600, batch=16, lr=1e-2)
        assert time.process_time() - began < 30
        found = errors(small, model, pairs, next(iter(task.held_out("test", 64))).inputs)
        for name, error in found.items():
            assert error[-1] < most, (name, error)
            assert (error.diff() <= 2e-3).all(), (name, error)


def test_gates_learn_to_choose_what_is_enough():
    """Targets are the least k that is near enough, from none for an answer of zero to all where nothing is near; taught
    gates choose them more often than new ones.
    """
    torch.manual_seed(0)
    made = part()
    x = torch.randn(40, 7)
    prefixes = made.prefixes(x, detached=True).detach()
    assert (least_enough(made, x, torch.zeros(40, 5), threshold=0.3) == 0).all()
    for k in range(1, 5):
        assert (least_enough(made, x, prefixes[k - 1], threshold=1e-6) <= k).all()
    assert (least_enough(made, x, 1e3 + prefixes[-1], threshold=1e-6) == 4).all()
    model, task = trained(10)
    small, pairs = adaptive_modules(model, ("blocks.*.channels",))
    teach_learners(small, model, pairs, task, steps=30)
    before = {pair.student: small.get_submodule(pair.student).gate[2].weight.clone() for pair in pairs}
    learners = small.get_submodule(pairs[0].student).up.clone()
    teach_gates(small, model, pairs, task, steps=20)
    assert all(not torch.equal(small.get_submodule(name).gate[2].weight, old) for name, old in before.items())
    assert torch.equal(small.get_submodule(pairs[0].student).up, learners)


def test_fine_tuning_moves_the_cost_to_the_budget():
    model, task = trained(10)
    costs = [used(acmized(model, task, budget=budget, steps=(20, 10, 60)), task) for budget in (0.2, 0.9)]
    assert costs[0] < 0.4 and costs[1] > 0.7
    whole = AdaptiveComputation(8, 8, learners=2)
    all_of_it = torch.nn.functional.one_hot(torch.tensor([2, 2]), 3).float()
    assert float(mean_cost({"a": whole}, {"a": all_of_it})) == 1.0


def test_what_cannot_be_converted_is_named():
    model, task = trained(1)
    with pytest.raises(VariorumError, match="no match"):
        adaptive_modules(model, ("nowhere.*",))
    with pytest.raises(VariorumError, match="MLP"):
        adaptive_modules(model, ("norm",))
    with pytest.raises(VariorumError, match="adaptive maps"):
        fine_tune(model, task, budget=0.5, steps=1)


def test_the_published_size_costs_what_vit_b_costs():
    """ViT-B/16 with four learners everywhere: parameters within 2% of the plain one's 86.6 million."""
    with torch.device("meta"):
        model = vit(dim=768, depth=12, heads=12, patch=16).fill(channels=3, height=224, width=224, classes=1000).build()
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(86.6e6, rel=0.02)


@pytest.mark.slow
@pytest.mark.row(SLUG, 3)
def test_the_claim() -> None:
    """A fresh run of BudgetsAreMet comes out as CLAIMS.md has it."""
    bears_out("BudgetsAreMet")
