"""DiT-MoE: adaLN-Zero, experts, the loss that balances them, and images out of noise."""

import math

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from house.kept import bears_out
from variorum.core import Layout, Memory, VariorumError, find_entry, listen
from variorum.data.denoising import Denoising
from variorum.explain.routing import mutual_information, routing_report
from variorum.layers.channels.glu import GLU
from variorum.layers.channels.mixture import Dispatch, Mixture
from variorum.layers.embed.label import Label
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.residuals.adaln_zero import AdaLNZero
from variorum.layers.routers.topk import TopK
from variorum.models.blocks.block import Block
from variorum.objectives.noise.cosine import CosineNoise
from variorum.objectives.noise.linear import LinearNoise
from variorum.objectives.noise.schedule import Gaussian, Predicts
from variorum.objectives.noise_and_variance import Diffused, NoiseAndVariance, divergence, log_likelihood
from variorum.runtime.diffusion import generate_images
from variorum.systems.dit_moe import LATENTS, dit_moe
from variorum.train.auxiliary import auxiliary
from variorum.train.descent import Descent
from variorum.train.recipe import Budget, Run

SLUG = "dit-moe"


def shaken(part: nn.Module, by: float = 0.3) -> nn.Module:
    """Moved off its initial values, some of which are zero."""
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return part.eval()


def condition(batch: int, dim: int) -> Memory:
    return Memory(torch.randn(batch, 2, dim, dtype=torch.float64))


@pytest.mark.row(SLUG, 0)
@pytest.mark.parametrize(
    ("size", "total", "active"),
    [("dit-moe-s/2-8e2a", 199_307_552, 71.9e6), ("dit-moe-b/2-8e2a", 795_861_536, 286.3e6)],
)
def test_published_size(size, total, active):
    """The small model has exactly 199,307,552 numbers, 71.9M active a token; the base one 795.9M and 286.3M.

    The authors keep the fixed positions of the 256 patches in a table, which is counted; here they are computed.
    """
    spec = find_entry(SLUG).spec(size)
    with torch.device("meta"):
        model = spec.fill(**LATENTS).build()
    dim = spec["dim"]
    found = sum(p.numel() for p in model.parameters()) + 256 * dim
    experts = [p.numel() for m in model.modules() if isinstance(m, Mixture) for p in m.experts.parameters()]
    assert found == total
    assert found - sum(experts) * 6 // 8 == pytest.approx(active, rel=1e-3)


@pytest.mark.row(SLUG, 1)
def test_one_expert_is_a_dense_block():
    """With one expert, one active, and a shared expert of zeros, the block is a dense SwiGLU DiT block to 1e-12."""
    torch.manual_seed(0)
    dense = Block.spec(mixer=Attention.spec(heads=2), channels=GLU.spec(hidden=64),
                       norm=LayerNorm.spec(affine=False), residual=AdaLNZero.spec())  # fmt: skip
    experts = Mixture.spec(experts=[GLU.spec(hidden=64)], router=TopK.spec(k=1), shared=GLU.spec(hidden=32))
    ours, other = (shaken(spec.build(dim=16).double()) for spec in (dense.but(channels=experts), dense))
    for parameter in ours.channels.shared.parameters():
        nn.init.zeros_(parameter)
    for name in ("mixer", "mixer_residual", "channels_residual"):
        getattr(ours, name).load_state_dict(getattr(other, name).state_dict())
    ours.channels.experts[0].load_state_dict(other.channels.state_dict())
    x, memory = torch.randn(3, 7, 16, dtype=torch.float64), condition(3, 16)
    torch.testing.assert_close(ours(x, None, memory), other(x, None, memory), atol=1e-12, rtol=0)


@pytest.mark.row(SLUG, 1)
@pytest.mark.parametrize("k", [1, 2, 4])
def test_dispatch_agrees(k):
    """Experts given their tokens in groups, all experts given all tokens, and a loop over tokens agree to 1e-12."""
    torch.manual_seed(0)
    spec = Mixture.spec(experts=[GLU.spec(hidden=8)] * 4, router=TopK.spec(k=k), shared=GLU.spec(hidden=16))
    grouped = shaken(spec.build(dim=6).double())
    every = spec.but(dispatch=Dispatch.EVERY).build(dim=6).double().eval()
    every.load_state_dict(grouped.state_dict())
    x = torch.randn(2, 9, 6, dtype=torch.float64)
    wanted = torch.empty_like(x)
    for place in [(b, t) for b in range(2) for t in range(9)]:
        p = (grouped.router.linear.weight @ x[place]).softmax(0)
        best = p.argsort(descending=True)[:k].tolist()
        wanted[place] = grouped.shared(x[place]) + sum(p[i] * grouped.experts[i](x[place]) for i in best)
    torch.testing.assert_close(grouped(x), wanted, atol=1e-12, rtol=0)
    torch.testing.assert_close(every(x), wanted, atol=1e-12, rtol=0)


@pytest.mark.row(SLUG, 1)
def test_equals_deepseek():
    """The mixture equals the one of transformers' DeepSeek-V2, whose experts it takes, on copied weights to 1e-6."""
    config = transformers.DeepseekV2Config(
        hidden_size=16, num_attention_heads=2, moe_intermediate_size=12, n_routed_experts=6, num_experts_per_tok=2,
        n_shared_experts=2, routed_scaling_factor=1.0, topk_method="greedy", norm_topk_prob=False,
    )  # fmt: skip
    from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2Moe

    torch.manual_seed(0)
    theirs = DeepseekV2Moe(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.3)
    spec = Mixture.spec(experts=[GLU.spec(hidden=12)] * 6, router=TopK.spec(k=2), shared=GLU.spec(hidden=24))
    ours = spec.build(dim=16).eval()
    with torch.no_grad():
        ours.router.linear.weight.copy_(theirs.gate.weight)
        for i, expert in enumerate(ours.experts):
            expert.gate_up.weight.copy_(theirs.experts.gate_up_proj[i])
            expert.down.weight.copy_(theirs.experts.down_proj[i])
        shared = theirs.shared_experts
        ours.shared.gate_up.weight.copy_(torch.cat([shared.gate_proj.weight, shared.up_proj.weight]))
        ours.shared.down.weight.copy_(shared.down_proj.weight)
        x = torch.randn(3, 5, 16)
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-6, rtol=1e-6)


def balance_of(router: nn.Module, x: Tensor) -> float:
    with listen(router, "auxiliary") as told:
        router(x)
    return told["auxiliary"][0].item()


@pytest.mark.row(SLUG, 2)
@pytest.mark.parametrize(("experts", "k"), [(8, 2), (4, 1), (6, 3)])
def test_balance_loss(experts, k):
    """The balance loss is 0.01 for an even router, and 0.01 * experts / k when the same k experts get everything."""
    router = TopK.spec(experts=experts, k=k, balance=0.01).build(dim=5).double()
    x = torch.ones(40, 5, dtype=torch.float64)
    nn.init.zeros_(router.linear.weight)
    assert balance_of(router, x) == pytest.approx(0.01, abs=1e-12)
    router.linear.weight.data[:k] = 200.0
    assert balance_of(router, x) == pytest.approx(0.01 * experts / k, rel=1e-6)


@pytest.mark.row(SLUG, 2)
def test_balance_loss_is_trained():
    """Each layer's balance loss is collected in training, and following it alone makes a lopsided router even."""
    torch.manual_seed(0)
    model = dit_moe(dim=16, depth=3, heads=2, outputs=1).fill(**Denoising().facts).build()
    batch = Denoising().batch(0, 8, 0)
    with auxiliary(model) as drain:
        model(**batch.inputs)
        told = drain()
    assert 0.03 <= told.item() < 0.03 * 8 / 2
    router = TopK.spec(experts=4, k=1, balance=1.0).build(dim=8)
    with torch.no_grad():
        router.linear.weight[0] += 0.5
    x = torch.randn(256, 8) + 0.5
    before, optimiser = balance_of(router, x), torch.optim.Adam(router.parameters(), lr=0.01)
    for _ in range(200):
        with auxiliary(router) as drain:
            router(x)
            optimiser.zero_grad()
            drain().backward()
        optimiser.step()
    assert before > 1.5 and balance_of(router, x) < 1.05


def test_adaln_zero_is_its_equation():
    """y = x + gate * f(norm(x)(1 + scale) + shift) from the sum of time and class; the identity at the start."""
    torch.manual_seed(0)
    part = AdaLNZero.spec(norm=LayerNorm.spec(affine=False)).build(dim=6).double()
    x, memory = torch.randn(3, 5, 6, dtype=torch.float64), condition(3, 6)
    assert torch.equal(part(x, torch.tanh, None, memory), x)
    shaken(part)
    for b in range(3):
        c = memory.x[b].sum(0)
        shift, scale, gate = (part.modulation.weight @ (c * c.sigmoid()) + part.modulation.bias).split(6)
        normed = (x[b] - x[b].mean(-1, keepdim=True)) / (x[b].var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
        wanted = x[b] + gate * torch.tanh(normed * (1 + scale) + shift)
        torch.testing.assert_close(part(x, torch.tanh, None, memory)[b], wanted, atol=1e-12, rtol=0)
    packed = part(x.flatten(0, 1), torch.tanh, Layout.ragged([5, 5, 5]), memory)
    torch.testing.assert_close(packed, part(x, torch.tanh, None, memory).flatten(0, 1), atol=1e-12, rtol=0)
    with pytest.raises(VariorumError, match="conditioned"):
        part(x, torch.tanh)


def test_a_new_model_answers_zero_and_hides_classes():
    """Before training the answer is 0; in training one class in ten is hidden, in use none."""
    torch.manual_seed(0)
    task = Denoising(variance=True)
    model = dit_moe(dim=16, depth=1, heads=2).fill(**task.facts).build()
    inputs = task.batch(0, 4, 0).inputs
    assert model(**inputs).shape == (4, 2, 8, 8) and not model(**inputs).any()
    label = Label.spec(classes=10, hidden=0.1).build(dim=4)
    ids = torch.zeros(4000, dtype=torch.int64)
    none = label.weight.weight[10]
    assert (label(ids)[0][:, 0] == none).all(1).float().mean() == pytest.approx(0.1, abs=0.02)
    assert not (label.eval()(ids)[0][:, 0] == none).all(1).any()


@pytest.mark.parametrize("schedule", [LinearNoise(), CosineNoise(), LinearNoise(steps=10, last=0.5)])
def test_noise_schedules(schedule):
    """Signal only falls; every kind of answer leads back to the clean image; one step back is Bayes' rule."""
    torch.manual_seed(0)
    times = torch.arange(schedule.steps)
    kept = schedule.kept(times)
    assert (kept.diff() < 0).all() and kept[0] > 0.9 and kept[-1] < 0.05
    clean, noise = torch.randn(2, 4, 1, 3, 3, dtype=torch.float64).unbind()
    time = torch.tensor([0, 1, schedule.steps // 2, schedule.steps - 2])
    noised = schedule.noised(clean, noise, time)
    for predicts in Predicts:
        answer = schedule.target(clean, noise, time, predicts)
        torch.testing.assert_close(schedule.clean(noised, answer, time, predicts), clean, atol=1e-6, rtol=1e-6)
    beta, t = schedule.betas(), schedule.steps // 2
    grid = torch.linspace(-8, 8, 40_001, dtype=torch.float64)
    log = Normal(kept[t - 1].sqrt() * 0.7, (1 - kept[t - 1]).sqrt()).log_prob(grid)
    log = log + Normal((1 - beta[t]).sqrt() * grid, beta[t].sqrt()).log_prob(torch.tensor(-0.4))
    weight = (log - log.logsumexp(0)).exp()
    mean = (weight * grid).sum()
    found = schedule.posterior(torch.tensor([[0.7]]).double(), torch.tensor([[-0.4]]).double(), torch.tensor([t]))
    assert found.mean.item() == pytest.approx(mean.item(), abs=1e-6)
    assert found.log_variance.exp().item() == pytest.approx((weight * (grid - mean).square()).sum().item(), rel=1e-5)


def test_the_bound_is_a_divergence():
    """The variance's term is KL of normal distributions as torch has it; levels of pixels have probabilities of sum 1;
    with v = -1 and the true noise nothing is missed; it does not train the noise."""
    torch.manual_seed(0)
    p, q = (Gaussian(torch.randn(5), torch.randn(5)) for _ in range(2))
    pairs = [Normal(g.mean, (g.log_variance / 2).exp()) for g in (p, q)]
    torch.testing.assert_close(divergence(p, q), kl_divergence(*pairs))
    levels = torch.linspace(-1, 1, 256, dtype=torch.float64)
    normal = Gaussian(torch.tensor(0.3).double(), torch.tensor(-3.0).double())
    assert log_likelihood(levels, normal).exp().sum().item() == pytest.approx(1, abs=1e-6)
    objective = NoiseAndVariance.spec().build()
    clean, noise = torch.rand(2, 1, 4, 4).double() * 2 - 1, torch.randn(2, 1, 4, 4).double()
    targets = Diffused(clean, noise, torch.tensor([10, 900]))
    exact = torch.cat([noise, -torch.ones_like(noise)], dim=1)
    assert objective(exact, targets).total.abs() < 1e-9
    outputs = (exact + 0.1).requires_grad_()
    objective(outputs, targets).total.backward()
    torch.testing.assert_close(outputs.grad[:, :1], torch.full_like(noise, 0.2), atol=1e-9, rtol=0)
    assert outputs.grad[:, 1:].abs().min() > 0


def test_images_out_of_noise():
    """Given a model that knows the image, sampling ends at it, guided or not; without chance it is repeatable."""
    schedule = LinearNoise(steps=100, last=0.1)
    image = torch.rand(1, 4, 4) * 1.6 - 0.8

    def knows(x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        kept = schedule.kept(time).float().view(-1, 1, 1, 1)
        return (x - kept.sqrt() * image * (1 - label.view(-1, 1, 1, 1))) / (1 - kept).sqrt()

    labels = torch.zeros(2, dtype=torch.int64)
    for eta in (0.0, 1.0):
        made = generate_images(knows, labels, shape=(1, 4, 4), schedule=schedule, steps=20, eta=eta)
        torch.testing.assert_close(made, image.expand(2, 1, 4, 4), atol=1e-4, rtol=0)
    half = generate_images(knows, labels, shape=(1, 4, 4), schedule=schedule, steps=100, eta=0.0, none=1, guidance=0.5)
    torch.testing.assert_close(half, image.expand(2, 1, 4, 4) / 2, atol=1e-3, rtol=0)
    with pytest.raises(VariorumError, match="no class"):
        generate_images(knows, labels, shape=(1, 4, 4), schedule=schedule, guidance=2.0)


def test_routing_report():
    """Bits shared by experts and place, time or class: log2 4 where one decides, 0 where none does."""
    torch.manual_seed(0)
    place, time = torch.arange(16), torch.randint(10, (200,))
    chosen = (place % 4).view(1, 16, 1).expand(200, 16, 1)
    report = routing_report(chosen, {"place": place, "time": time})
    assert report["place"] == pytest.approx(2, abs=0.02) and report["time"] == 0 and report["least used"] == 0.25
    by_time = (time % 2).view(200, 1, 1).expand(200, 16, 2)
    assert routing_report(by_time, {"time": time, "place": place})["time"] == pytest.approx(1, abs=0.05)
    assert mutual_information(torch.randint(4, (20_000,)), torch.randint(10, (20_000,))) < 0.001
    with pytest.raises(VariorumError, match="batch and n are equal"):
        routing_report(chosen[:16], {"place": place})


@pytest.mark.slow
def test_learns_digits():
    """In 200 steps a small DiT-MoE halves the noise error of answering 0, and its digits' mean brightness is theirs."""
    task = Denoising(seed=0)
    spec = dit_moe(dim=32, depth=2, heads=2, experts=4, active=1, outputs=1)
    model = Descent(batch=64, evaluations=0).train(spec, task, Run(Budget(steps=200), seed=0))
    with torch.no_grad():
        error = torch.cat([task.scores(model(**b.inputs), b.targets) for b in task.held_out("test", 128)]).mean()
    assert error < 0.5, "answering 0 has an error of 1"
    made = generate_images(model, torch.arange(10).repeat(4), shape=(1, 8, 8), schedule=task.schedule, steps=25)
    assert made.isfinite().all() and math.isclose(made.mean(), task._images.mean(), abs_tol=0.2)


@pytest.mark.slow
@pytest.mark.row(SLUG, 3)
def test_claim_sparse_diffusion() -> None:
    """A fresh run of SparseDiffusion comes out as CLAIMS.md has it."""
    bears_out("SparseDiffusion")
