"""The looped Transformer: the loop itself, its truncated gradient, and the prompts that it learns from."""

import copy

import pytest
import torch
import transformers
from torch import Tensor, nn

from house.kept import bears_out
from variorum.core import Answers, find_entry
from variorum.data.prompts.linear import LinearPrompts
from variorum.data.prompts.relu_network import NetworkPrompts
from variorum.data.prompts.tree import TreePrompts
from variorum.data.task import Batch
from variorum.models.looped import Looped
from variorum.objectives.squared_error import SquaredError
from variorum.systems.looped_transformer import baseline, looped_transformer
from variorum.train.learner import Learner

SLUG = "looped-transformer"


def small(**args: int) -> Looped:
    torch.manual_seed(0)
    chosen = {"dim": 32, "heads": 4, "features": 5, "length": 24, "times": 6, "window": 4, **args}
    return looped_transformer(**chosen).build().eval()


def prompts(rows: int = 3) -> Batch:
    return LinearPrompts(dims=5, points=11).batch(0, rows, 0)


def backbone(model: nn.Module) -> int:
    """Parameters of blocks and final norm."""
    return sum(p.numel() for part in (model.blocks, model.norm) for p in part.parameters())


@pytest.mark.row(SLUG, 0)
def test_the_loop_has_a_twelfth_of_the_parameters():
    """One block of width 256 has 789,760 + 512 parameters, twelve have 9,477,120 + 512: 8.3 percent, not 10."""
    with torch.device("meta"):
        one, twelve = find_entry(SLUG).spec("linear").build(), baseline().build()
    assert (backbone(one), backbone(twelve)) == (789_760 + 512, 9_477_120 + 512)
    assert backbone(one) / backbone(twelve) == pytest.approx(0.0834, abs=1e-4)


@pytest.mark.parametrize(("size", "times", "window"), [("linear", 30, 15), ("sparse-linear", 20, 10),
                                                      ("decision-tree", 70, 15), ("relu-network", 12, 5)])  # fmt: skip
def test_published_loops(size, times, window):
    """The passes and windows are those of the official runs."""
    with torch.device("meta"):
        model = find_entry(SLUG).spec(size).build()
    assert (model.times, model.window, len(model.blocks)) == (times, window, 1)


@pytest.mark.row(SLUG, 1)
@pytest.mark.parametrize("depth", [1, 2])
def test_a_loop_equals_as_many_layers_with_the_same_weights(depth):
    """Six passes equal six separate layers that hold copies of the weights and are each given the input, to 1e-5."""
    model = small(depth=depth)
    inputs = prompts().inputs["inputs"]
    layers = [(copy.deepcopy(model.blocks), copy.deepcopy(model.norm)) for _ in range(6)]
    with torch.no_grad():
        x, _ = model.embed(inputs)
        y = torch.zeros_like(x)
        for blocks, norm in layers:
            y = y + x
            for block in blocks:
                y = block(y)
            y = norm(y)
        torch.testing.assert_close(model(inputs), model.head(y), atol=1e-5, rtol=0)


@pytest.mark.row(SLUG, 1)
def test_the_truncated_gradient_is_that_of_a_constant_beginning():
    """Of 6 passes with a window of 4 the gradient is autograd's with the state after pass 2 detached, to 1e-6."""
    model, batch = small(), prompts()
    real = ~batch.targets.isnan()

    def gradient(loss: Tensor) -> list[Tensor]:
        model.zero_grad()
        loss.backward()
        return [p.grad.clone() for p in model.parameters()]

    def error(y: Tensor) -> Tensor:
        return (model.head(y).squeeze(-1)[real] - batch.targets[real]).square().mean()

    x, _ = model.embed(batch.inputs["inputs"])
    y, errors = torch.zeros_like(x), []
    for t in range(6):
        y = model.norm(model.blocks[0]((y.detach() if t == 2 else y) + x))
        if t >= 2:
            errors.append(error(y))
    wanted = gradient(torch.stack(errors).mean())
    learner = Learner(model.train(), SquaredError())
    found = gradient(learner(batch, lambda: torch.autocast("cpu", enabled=False)).mean)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    full = gradient(learner_of_all(model, batch).mean)
    assert max(float((a - b).abs().max()) for a, b in zip(full, wanted, strict=True)) > 1e-4, "nothing was truncated"


def learner_of_all(model: Looped, batch: Batch):
    each = model.iterates(batch.inputs["inputs"], times=6)[2:]
    loss = [SquaredError()(y, batch.targets) for y in each]
    return loss[0]._replace(total=torch.stack([one.total for one in loss]).mean())


@pytest.mark.row(SLUG, 2)
def test_one_pass_equals_gpt2():
    """With its weights copied in, one pass equals transformers' GPT2Model of one layer to 1e-4."""
    model = small()
    config = transformers.GPT2Config(vocab_size=3, n_positions=24, n_embd=32, n_layer=1, n_head=4, resid_pdrop=0.0,
                                     embd_pdrop=0.0, attn_pdrop=0.0)  # fmt: skip
    torch.manual_seed(1)
    gpt2 = transformers.GPT2Model(config).eval()
    inputs = prompts().inputs["inputs"]
    block, theirs = model.blocks[0], gpt2.h[0]
    pairs = [(block.mixer.qkv, theirs.attn.c_attn), (block.mixer.out, theirs.attn.c_proj),
             (block.channels.up, theirs.mlp.c_fc), (block.channels.down, theirs.mlp.c_proj)]  # fmt: skip
    norms = [
        (block.mixer_residual.norm, theirs.ln_1),
        (block.channels_residual.norm, theirs.ln_2),
        (model.norm, gpt2.ln_f),
    ]
    with torch.no_grad():
        for parameter in gpt2.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for ours, conv in pairs:
            ours.weight.copy_(conv.weight.T)
            ours.bias.copy_(conv.bias)
        for ours, norm in norms:
            ours.load_state_dict(norm.state_dict())
        model.embed.position.weight.copy_(gpt2.wpe.weight)
        read = model.embed.linear(inputs)
        torch.testing.assert_close(
            model.iterates(inputs, times=1)[0],
            model.head(gpt2(inputs_embeds=read).last_hidden_state),
            atol=1e-4,
            rtol=0,
        )


def test_a_loop_runs_on():
    """More passes than the model was built for begin with the same ones, and the last of them is the model's answer."""
    model, inputs = small(), prompts().inputs["inputs"]
    with torch.no_grad():
        each = model.iterates(inputs, times=12)
        assert len(each) == 12
        torch.testing.assert_close(each[5], model(inputs))
        torch.testing.assert_close(model.iterates(inputs, times=12, window=3), each[-3:])


def test_training_judges_the_window_alike():
    """In training the model gives its last 4 answers, each with a quarter of the weight."""
    answers = small().train()(prompts().inputs["inputs"])
    assert isinstance(answers, Answers) and len(answers.each) == 4 and answers.weights == (0.25,) * 4


def test_a_prompt_is_points_and_values_in_turn():
    """x_i lies at 2 i, (y_i, 0 ...) behind it; y_i is told at x_i; the values are linear in x, with few coordinates."""
    batch = LinearPrompts(dims=6, points=30, nonzero=2).batch(3, 4, 0)
    tokens, y = batch.inputs["inputs"].double(), batch.targets[:, ::2].double()
    assert torch.equal(tokens[:, 1::2, 0], y) and not tokens[:, 1::2, 1:].any() and batch.targets[:, 1::2].isnan().all()
    w = torch.linalg.lstsq(tokens[:, ::2], y.unsqueeze(-1)).solution
    torch.testing.assert_close((tokens[:, ::2] @ w).squeeze(-1), y, atol=1e-5, rtol=0)
    assert ((w.abs() > 1e-4).sum(dim=1) == 2).all()


def test_prompts_grow():
    """Dims grow by one and points by two every ten steps, from a quarter up to all."""
    task = LinearPrompts(dims=8, points=16, grows=10)
    for step, dims, points in ((0, 2, 4), (9, 2, 4), (10, 3, 6), (35, 5, 10), (1000, 8, 16)):
        x = task.batch(step, 2, 0).inputs["inputs"]
        assert x.shape[1] == 2 * points and (x[:, ::2] != 0).any(dim=(0, 1)).sum() == dims


def test_trees_and_networks_are_those_of_the_paper():
    """A tree of depth 1 tells two values by the sign of one coordinate; a network's values have variance dims."""
    batch = TreePrompts(dims=3, points=200, depth=1).batch(0, 4, 0)
    x, y = batch.inputs["inputs"][:, ::2], batch.targets[:, ::2]
    for points, values in zip(x, y, strict=True):
        assert len(values.unique()) == 2
        assert (
            sum(
                len(values[points[:, c] > 0].unique()) == len(values[points[:, c] <= 0].unique()) == 1 for c in range(3)
            )
            == 1
        )
    assert len(TreePrompts(dims=20, points=400).batch(0, 1, 0).targets[0, ::2].unique()) == 16
    values = NetworkPrompts(dims=10, points=200).batch(0, 64, 0).targets[:, ::2]
    assert values.var() == pytest.approx(10, rel=0.15)


@pytest.mark.slow
@pytest.mark.row(SLUG, 3)
def test_claim_loop_learns_regression() -> None:
    """A fresh run of LoopLearnsRegression comes out as CLAIMS.md has it."""
    bears_out("LoopLearnsRegression")
