"""TokenFormer: projections that attend to parameter tokens, and models that grow by more of them."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from house.kept import bears_out
from variorum.adapt.grow import grow, grown
from variorum.core import VariorumError, find_entry
from variorum.layers.projections.pattention import Pattention, Theta
from variorum.systems.tokenformer import tokenformer

SLUG = "tokenformer"
VOCAB = 61


def small(**args: int) -> torch.nn.Module:
    torch.manual_seed(0)
    model = tokenformer(dim=32, depth=2, heads=4, **args).fill(vocab=VOCAB).build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def as_printed(scores: Tensor, theta: Theta, n: int) -> Tensor:
    """Theta row by row and slot by slot, as the official code and the paper have it."""
    rows = []
    for row in scores.tolist():
        gelu = [s * 0.5 * (1 + math.erf(s / math.sqrt(2))) for s in row]
        length = math.sqrt(sum(s * s for s in row))
        if theta is Theta.SOFTMAX:
            total = sum(math.exp(s) for s in row)
            rows.append([math.exp(s) / total * n for s in row])
        elif theta is Theta.GELU_L2_NORM:
            after = math.sqrt(sum(g * g for g in gelu))
            rows.append([g / after * math.sqrt(n) for g in gelu])
        else:
            scaled = [s / length * math.sqrt(n) for s in row]
            rows.append([s * 0.5 * (1 + math.erf(s / math.sqrt(2))) for s in scaled])
    return torch.tensor(rows, dtype=scores.dtype)


@pytest.mark.row(SLUG, 0)
def test_the_150m_model_has_the_parameters_of_the_formula():
    """The published 150M model with 50,304 tokens has exactly 151,881,216 parameters."""
    with torch.device("meta"):
        model = find_entry(SLUG).spec("150m").fill(vocab=50304).build()
    found = sum(p.numel() for p in model.parameters())
    assert found == 12 * (4 * 768 * 1536 + 3072 * 1536) + 50304 * 768 + 1536 == 151_881_216


@pytest.mark.parametrize(
    ("size", "dim", "depth", "slots", "million"),
    [("450m", 1024, 24, 1024, 454), ("900m", 1280, 32, 1280, 903), ("1.5b", 1536, 40, 1536, 1587),
     ("354m", 1024, 24, 768, 354), ("757m", 1024, 24, 1792, 756)],
)  # fmt: skip
def test_other_published_sizes(size, dim, depth, slots, million):
    """The others have 454, 903 and 1,587 million parameters (named 450M, 900M, 1.5B), and 354 and 756 (354M, 757M)."""
    with torch.device("meta"):
        model = find_entry(SLUG).spec(size).fill(vocab=50304).build()
    found = sum(p.numel() for p in model.parameters())
    assert found == depth * 8 * slots * 2 * dim + 50304 * dim + 2 * dim
    assert round(found / 1e6) == million


@pytest.mark.row(SLUG, 1)
@pytest.mark.parametrize("theta", list(Theta))
def test_pattention_equals_the_formulas_of_the_released_code(theta):
    """For each of the three norm types Pattention equals the released formulas, written out slot by slot, to 1e-6."""
    torch.manual_seed(0)
    part = Pattention.spec(slots=20, theta=theta, key_std=0.5, value_std=0.5).build(source=12, dim=7).double()
    x = torch.randn(5, 12, dtype=torch.float64)
    expected = as_printed(x @ part.keys.T, theta, 20) @ part.values
    torch.testing.assert_close(part(x), expected, atol=1e-6, rtol=0)


@pytest.mark.row(SLUG, 1)
def test_softmax_pattention_is_attention_to_the_parameter_tokens():
    """With softmax it is torch's scaled dot-product attention of x on the parameter tokens, times n, to 1e-5."""
    torch.manual_seed(0)
    part = Pattention.spec(slots=20, theta=Theta.SOFTMAX, scale=12**-0.5, key_std=1.0).build(source=12, dim=7)
    x = torch.randn(5, 12)
    expected = 20 * F.scaled_dot_product_attention(x[None], part.keys[None], part.values[None])[0]
    torch.testing.assert_close(part(x), expected, atol=1e-5, rtol=0)


def test_a_token_of_zeros_gives_zeros():
    """Scores that are all 0 have no direction: the answer is 0, not NaN."""
    part = Pattention.spec(slots=5).build(source=4, dim=3)
    assert torch.equal(part(torch.zeros(2, 4)), torch.zeros(2, 3))


@pytest.mark.row(SLUG, 2)
@pytest.mark.parametrize("theta", [Theta.L2_NORM_GELU, Theta.GELU_L2_NORM])
def test_growing_leaves_the_logits_as_they_are(theta):
    """With twice, and then three times, as many pairs of zero keys and the constant kept, logits change by < 1e-6."""
    torch.manual_seed(0)
    spec = tokenformer(dim=32, depth=2, heads=4).fill(vocab=VOCAB)
    for path, part in [(path, part) for path, part in spec.walk() if part.cls is Pattention]:
        spec = spec.replace(path, part.but(theta=theta, key_std=0.5, value_std=0.5))
    model, ids = spec.build().eval().double(), torch.randint(VOCAB, (3, 17))
    with torch.no_grad():
        wanted = model(ids)
        larger = grow(model, 2)
        largest = grow(larger, 1.5)
        assert larger.blocks[0].channels.projection.keys.shape == (256, 32)
        assert largest.blocks[1].mixer.qkv.query.values.shape == (96, 32)
        for found in (larger(ids), largest(ids)):
            torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


@pytest.mark.row(SLUG, 2)
def test_a_constant_taken_anew_changes_the_weights_as_the_formula_says():
    """With sqrt(n + m) for sqrt(n) the answer is another: gelu of the row rescaled by sqrt((n + m) / n), exactly.

    The relative change of one layer's answer, for n = m = 20: 0.47 with this seed; it is not small.
    """
    torch.manual_seed(0)
    old = Pattention.spec(slots=20, key_std=0.5, value_std=0.5).build(source=12, dim=7).double()
    x = torch.randn(64, 12, dtype=torch.float64)
    anew = Pattention.spec(slots=40).build(source=12, dim=7).double()
    with torch.no_grad():
        anew.keys.zero_()
        anew.keys[:20], anew.values[:20] = old.keys, old.values
        scores = x @ old.keys.T
        rescaled = scores / scores.norm(dim=1, keepdim=True) * math.sqrt(20) * math.sqrt(40 / 20)
        torch.testing.assert_close(anew(x), F.gelu(rescaled) @ old.values, atol=1e-12, rtol=0)
        change = (anew(x) - old(x)).norm() / old(x).norm()
    assert 0.4 < change < 0.55, float(change)


def test_a_grown_model_learns_with_its_new_pairs():
    """After growth a gradient reaches the new keys; the new values follow once the keys have moved."""
    larger = grow(small(), 2).train()
    optimizer = torch.optim.SGD(larger.parameters(), lr=0.1)
    ids = torch.randint(VOCAB, (4, 9))
    for step in range(2):
        optimizer.zero_grad()
        F.cross_entropy(larger(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
        part = larger.blocks[0].channels.projection
        assert part.keys.grad[128:].any(), "no gradient reaches the new keys"
        assert bool(part.values.grad[128:].any()) == (step > 0)
        optimizer.step()


def test_what_cannot_grow_says_so():
    """A softmax Theta, a factor that cuts a slot in two, and a model without parameter tokens are refused."""
    soft = Pattention.spec(slots=4, source=3, dim=3, theta=Theta.SOFTMAX).build()
    with pytest.raises(VariorumError, match="softmax"):
        grow(soft, 2)
    with pytest.raises(VariorumError, match=r"factor 1\.3"):
        grown(Pattention.spec(slots=4), 1.3)
    with pytest.raises(VariorumError, match="Pattention"):
        grown(tokenformer(dim=8, depth=1, heads=2).at("embed"), 2)


def test_decoding_equals_the_whole():
    """Token by token the model gives the logits that it gives for the whole row."""
    model, ids = small(), torch.randint(VOCAB, (2, 20))
    with torch.no_grad():
        wanted, state = model(ids), model.start(2)
        for t in range(20):
            logits, state = model.step(ids[:, t], state)
            torch.testing.assert_close(logits, wanted[:, t], atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.row(SLUG, 3)
def test_claim_growing_is_as_good_as_anew() -> None:
    """A fresh run of GrowingIsAsGoodAsAnew comes out as CLAIMS.md has it."""
    bears_out("GrowingIsAsGoodAsAnew")
