"""``variorum.compile``: the same answers, a plan that is data, and fallbacks that are told."""

import json
import logging

import pytest
import torch
from torch import Tensor, nn

import variorum
from samples.bundles import bundle
from variorum.core import Layout, Memory, VariorumError, find_entry
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.glu import GLU
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.patches import Patches
from variorum.layers.mixers.attention import Attention
from variorum.layers.patterns.causal import Causal
from variorum.runtime.bundle import load, save
from variorum.runtime.engine import compile as module
from variorum.runtime.engine import measure
from variorum.runtime.engine.door import by_length
from variorum.runtime.engine.flops import flops
from variorum.runtime.engine.kernels.product import Numbers
from variorum.runtime.engine.limit import Limit
from variorum.runtime.engine.linears.choose import fast_linear
from variorum.runtime.engine.linears.dynamic_int8 import DynamicInt8
from variorum.runtime.engine.linears.fast_linear import rounded
from variorum.runtime.engine.linears.native import fits
from variorum.runtime.engine.measure import cosine, error
from variorum.runtime.engine.plan import Plan
from variorum.runtime.engine.precision import TOLERANCES, Precision, missing
from variorum.runtime.engine.sample import rows_for
from variorum.runtime.engine.sites import find_sites, rewritten, sharing
from variorum.runtime.generate import generate
from variorum.systems.bytetransformer import Answer, bytetransformer
from variorum.systems.turner_introduction import encoder as vision

FORMS = (Precision.FLOAT32, Precision.BFLOAT16, Precision.INT8_GROUPED, Precision.INT8, Precision.INT4)
CLOSE = {
    Precision.FLOAT32: 1e-6,
    Precision.BFLOAT16: 1e-2,
    Precision.INT8_GROUPED: 2e-2,
    Precision.INT8: 2e-2,
    Precision.INT4: 0.2,
}
"""Largest relative error of one product of random numbers."""


def silent(_: str) -> None:
    """Plans are not looked at."""


def apart(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def able(precision: Precision) -> Precision:
    if why := missing(precision):
        pytest.skip(why)
    return precision


# -- linear maps -------------------------------------------------------------------------------------------------------
@torch.inference_mode()
@pytest.mark.parametrize("precision", FORMS)
@pytest.mark.parametrize("rows", [(), (0,), (1,), (2, 5), (31,), (33,), (65,)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_map_is_the_plain_one(precision: Precision, rows: tuple[int, ...], bias: bool) -> None:
    """Any leading dimensions, none, and no rows, with a nonlinearity after it and without."""
    torch.manual_seed(0)
    plain, x = nn.Linear(64, 48, bias=bias), torch.randn(*rows, 64)
    for after in (Activation.IDENTITY, Activation.GELU, Activation.SOFTPLUS):
        fast = fast_linear(plain.weight, plain.bias, able(precision), after=after)
        found, wanted = fast(x), after.function(plain(x))
        assert found.shape == wanted.shape and found.dtype == torch.float32
        assert not wanted.numel() or apart(found, wanted) < CLOSE[precision]


@torch.inference_mode()
def test_a_tokens_answer_does_not_depend_on_its_batch() -> None:
    """In eight bits every token has a scale of its own: a token a thousand times as large changes no other."""
    able(Precision.INT8)
    torch.manual_seed(0)
    plain, x = nn.Linear(32, 16), torch.randn(40, 32)
    fast = DynamicInt8(plain.weight, plain.bias)
    alone = fast(x)
    x[7] *= 1000
    found = fast(x)
    assert torch.equal(found[:7], alone[:7]) and torch.equal(found[8:], alone[8:])
    assert apart(found[7:8], plain(x[7:8])) < 0.02


@torch.inference_mode()
def test_integers_are_exact() -> None:
    """Weights and tokens that are whole multiples of their scales come out without any error."""
    able(Precision.INT8)
    torch.manual_seed(0)
    weight, x = torch.randint(-127, 128, (16, 32)).float(), torch.randint(-127, 128, (5, 32)).float()
    weight[:, 0], x[:, 0] = 127, 127
    found = DynamicInt8(nn.Parameter(weight, requires_grad=False), None)(x)
    torch.testing.assert_close(found, x @ weight.T, rtol=1e-6, atol=1e-2)


def test_numbers_of_rows_are_few() -> None:
    """Up to 32 rows as they are, then multiples of 32: what oneDNN compiles for stays bounded."""
    assert [rounded(n) for n in (0, 1, 32, 33, 64, 1000)] == [0, 1, 32, 64, 64, 1024]


# -- parts -------------------------------------------------------------------------------------------------------------
@torch.inference_mode()
@pytest.mark.parametrize("precision", FORMS)
@pytest.mark.parametrize(
    "spec",
    [MLP.spec(activation=a) for a in Activation]
    + [GLU.spec(hidden=96), GLU.spec(hidden=64, activation=Activation.GELU, bias=True), Attention.spec(heads=4),
       Attention.spec(heads=4, kv_heads=2), Attention.spec(heads=4, key_bias=False)],
    ids=str,
)  # fmt: skip
def test_a_part_is_its_faster_equal(spec, precision: Precision) -> None:
    """Every replaced part, on packed uneven rows and on equal ones."""
    torch.manual_seed(0)
    part = spec.build(dim=64).eval()
    (site,), _ = find_sites(part, [able(precision)])
    fast = site.made(precision)
    layout = Layout.ragged([5, 1, 0, 40])
    x = torch.randn(46, 64)
    packed = (x, layout) if isinstance(part, Attention) else (x,)
    assert apart(fast(*packed), part(*packed)) < 3 * CLOSE[precision]
    x = torch.randn(2, 9, 64)
    assert apart(fast(x), part(x)) < 3 * CLOSE[precision]


@torch.inference_mode()
def test_attention_elsewhere_and_its_cache_stay() -> None:
    """Cross attention and streaming go through the replaced projections."""
    torch.manual_seed(0)
    x, memory = torch.randn(2, 5, 32), Memory(torch.randn(2, 7, 32))
    cross = Attention.spec(heads=4).build(dim=32).eval()
    fast = find_sites(cross, [Precision.FLOAT32])[0][0].made(Precision.FLOAT32)
    torch.testing.assert_close(fast(x, None, memory), cross(x, None, memory), rtol=1e-5, atol=1e-5)
    causal = Attention.spec(heads=4, pattern=Causal.spec()).build(dim=32).eval()
    fast = find_sites(causal, [Precision.BFLOAT16])[0][0].made(able(Precision.BFLOAT16))
    state, plain = fast.start(2), causal(x)
    for t in range(5):
        y, state = fast.step(x[:, t], state)
        assert apart(y, plain[:, t]) < 0.02


def test_a_module_that_stands_twice_is_replaced_twice() -> None:
    """Shared layers stay shared."""
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    sites, _ = find_sites(model, [Precision.FLOAT32])
    assert [site.path for site in sites] == ["0"]
    new = rewritten(model, {"0": (sites[0].replacement, Precision.FLOAT32)})
    assert new[0] is new[2] and new[0] is not shared and new[0].weight is shared.weight


def test_a_copy_shares_tensors_and_nothing_else() -> None:
    model = MLP.spec().build(dim=8)
    other = sharing(model)
    assert other is not model and other.up is not model.up and other.up.weight is model.up.weight


# -- whole models ------------------------------------------------------------------------------------------------------
TEXT = ("formal-algorithms-transformers", "deltanet", "lightning-attention-tnl", "magneto", "mamba-2-hybrid",
        "telechat2", "tokenformer", "simplified-transformer-block", "matmul-free-lm")  # fmt: skip
LABELLED = ("bytetransformer", "elc-bert", "s4", "wide-attention", "kernelized-transformer", "turner-introduction")


@pytest.mark.parametrize(
    "precision", ["float32", *(pytest.param(p, marks=pytest.mark.slow) for p in ("bfloat16", "int8"))]
)
@pytest.mark.parametrize(("slug", "data"), [*((s, "text") for s in TEXT), *((s, "labelled texts") for s in LABELLED)])
def test_a_system_keeps_its_tolerance(slug: str, data: str, precision: str) -> None:
    """Systems of the catalogue, all kinds of mixers: the plan's error is measured, and on other rows it is alike."""
    torch.manual_seed(0)
    able(Precision(precision))
    model = find_entry(slug).fit(data).fill(vocab=40, classes=3).build().eval()
    engine = variorum.compile(model, precision=precision, tell=silent)
    limit = TOLERANCES[Precision(precision)]
    assert engine.plan.error <= engine.plan.tolerance == limit
    lengths = [9, 1, 30, 17]
    ids, layout = torch.randint(40, (sum(lengths),)), Layout.ragged(lengths)
    with torch.inference_mode():
        assert apart(engine(ids, layout=layout), model(ids, layout)) <= 2 * limit


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return bytetransformer(dim=32, depth=2, heads=4, length=64, answer=Answer.CLASS).fill(vocab=50, classes=3).build()


def test_padded_packed_and_one_by_one_are_the_same(encoder) -> None:
    """One padded batch, the packed batch in any order, and each row alone: the same numbers in the caller's order."""
    engine = variorum.compile(encoder, precision="float32", tell=silent)
    lengths = [7, 30, 1, 30, 12]
    mask = torch.arange(30) < torch.tensor(lengths)[:, None]
    ids = torch.randint(50, mask.shape)
    alone = torch.cat([engine(row[real][None]) for row, real in zip(ids, mask, strict=True)])
    torch.testing.assert_close(engine(ids, mask=mask), alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(engine(ids[mask], layout=Layout.ragged(lengths)), alone, rtol=1e-5, atol=1e-5)
    tokens = engine.hidden(ids, mask=mask)
    assert tokens.shape == (5, 30, 32) and not tokens[~mask].any()
    for row, real, found in zip(ids, mask, tokens, strict=True):
        torch.testing.assert_close(found[real], engine.hidden(row[real][None])[0], rtol=1e-5, atol=1e-5)


def test_a_mask_that_leaves_nothing_out_is_none(encoder, monkeypatch) -> None:
    """Nothing is packed then, and nothing put back."""
    engine = variorum.compile(encoder, precision="float32", tell=silent)
    ids, mask = torch.randint(50, (3, 9)), torch.ones(3, 9, dtype=torch.bool)
    wanted = engine(ids[mask], layout=Layout.ragged([9, 9, 9]))
    monkeypatch.setattr("variorum.runtime.engine.door.pack", None)
    torch.testing.assert_close(engine(ids, mask=mask), wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(engine.hidden(ids, mask=mask), engine.hidden(ids))


def test_rows_of_one_token_are_not_taken_for_tokens(encoder) -> None:
    """As many rows as tokens: a class a row stays one a row; a token's answer gets its place."""
    ids, mask = torch.randint(50, (4, 3)), torch.tensor([[True, False, False]] * 4)
    engine = variorum.compile(encoder, precision="float32", tell=silent)
    assert engine(ids, mask=mask).shape == (4, 3)
    tokens = bytetransformer(dim=32, depth=1, heads=4, length=64).fill(vocab=50).build()
    assert variorum.compile(tokens, precision="plain", tell=silent)(ids, mask=mask).shape == (4, 3, 32)


def test_rows_are_put_in_order_and_back() -> None:
    """Tokens, segments, coordinates and starts move together; what was in order is left."""
    layout = Layout.ragged([3, 0, 1, 2], segments=torch.arange(6), start=torch.arange(4))
    x, lies, order = by_length(torch.arange(6), layout)
    assert lies.lengths == [0, 1, 2, 3] and x.tolist() == lies.segments.tolist() == [3, 4, 5, 0, 1, 2]
    assert lies.start.tolist() == [1, 2, 3, 0] and order is not None
    assert order.back(x, by_token=True).tolist() == list(range(6))
    assert order.back(lies.start, by_token=False).tolist() == list(range(4))
    assert by_length(x, Layout.ragged([1, 2, 3]))[2] is None


def test_no_arithmetic_on_padding(encoder) -> None:
    """A padded batch costs what its tokens cost, however wide it is padded."""
    for precision in ("plain", "float32"):
        engine = variorum.compile(encoder, precision=precision, tell=silent)
        costs = []
        for width in (12, 64):
            mask = torch.arange(width) < torch.tensor([12, 3, 5])[:, None]
            ids = torch.randint(50, mask.shape)
            costs.append(flops(lambda ids=ids, mask=mask, run=engine: run(ids, mask=mask)))
        assert costs[0] == costs[1] and costs[0]["products"] > 0 and costs[0]["attention"] > 0


def test_a_compiled_model_writes() -> None:
    """``generate`` takes the engine's model: the same words in float32."""
    torch.manual_seed(0)
    model = find_entry("formal-algorithms-transformers").fit("text").fill(vocab=20).build().eval()
    engine = variorum.compile(model, precision="float32", tell=silent)
    prompts = [torch.tensor([1, 2, 3]), torch.tensor([4])]
    found, wanted = (generate(m, prompts, most=6) for m in (engine.model, model))
    assert [row.tolist() for row in found] == [row.tolist() for row in wanted]


# -- plans -------------------------------------------------------------------------------------------------------------
def test_a_plan_is_data(encoder) -> None:
    """JSON in and out; a model compiled by it answers the same, and nothing is measured."""
    told: list[str] = []
    engine = variorum.compile(encoder, precision="bfloat16", tolerance=0.1, threads=1, tell=told.append)
    plan = Plan.from_json(json.dumps(engine.plan.to_dict()))
    assert plan == engine.plan and plan.threads == 1
    path, part = ("blocks.0", "Block") if fits(Numbers.BFLOAT16) else ("blocks.0.mixer", "Attention")
    assert path in told[0] and f"{part} in bfloat16" in told[0]
    again = variorum.compile(encoder, plan=plan, tell=silent)
    ids = torch.randint(50, (2, 9))
    assert torch.equal(again(ids), engine(ids))


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"choices": [{}]}, {"asked": "faster"}, {"threads": "two"}, {"machine": {"torch": 1}}, {"x": 1}],
    ids=str,
)
def test_what_is_no_plan_is_refused(encoder, change) -> None:
    plan = variorum.compile(encoder, precision="plain", tell=silent).plan
    with pytest.raises(VariorumError, match="plan"):
        Plan.from_dict({**plan.to_dict(), **change})


def test_a_plan_of_another_model_is_refused(encoder) -> None:
    plan = variorum.compile(encoder, precision="float32", tell=silent).plan
    other = bytetransformer(dim=32, depth=1, heads=4, length=64).fill(vocab=50).build()
    with pytest.raises(VariorumError, match="as in the model it is of"):
        variorum.compile(other, plan=plan, tell=silent)


def test_a_plan_of_another_machine_is_used_and_told(encoder, caplog, monkeypatch) -> None:
    plan = variorum.compile(encoder, precision="float32", tell=silent).plan
    monkeypatch.setattr(module, "processor", lambda: "an abacus")
    with caplog.at_level(logging.WARNING):
        variorum.compile(encoder, plan=plan, tell=silent)
    assert "an abacus" in caplog.text


def test_a_bundle_keeps_its_plan(tmp_path) -> None:
    made = bundle("text")
    assert json.loads((save(made, tmp_path / "a") / "bundle.json").read_text()).get("plan") is None
    engine = made.compile(precision="float32", tell=silent)
    back = load(save(made, tmp_path / "b"))
    assert back.plan == engine.plan
    again, sample = back.compile(), made.preprocess.build().sample(3, 8)
    assert torch.equal(again(**sample), engine(**sample))


# -- fallbacks and faults ----------------------------------------------------------------------------------------------
def test_what_cannot_keep_the_tolerance_is_made_more_exact_and_told(encoder, caplog) -> None:
    """Eight bits under a tolerance that they cannot keep: some modules climb, and a warning names them."""
    able(Precision.INT8)
    with caplog.at_level(logging.WARNING):
        engine = variorum.compile(encoder, precision="int8", tolerance=1e-3, tell=silent)
    assert engine.plan.error <= 1e-3 and "to keep the tolerance" in caplog.text
    assert any("would exceed the tolerance" in choice.why for choice in engine.plan.choices)


def test_the_worst_answer_keeps_its_cosine(caplog) -> None:
    """One token among hundreds whose answer points elsewhere is enough: modules climb until none does; it is told."""
    able(Precision.INT8)
    torch.manual_seed(0)
    model = bytetransformer(dim=32, depth=3, heads=4, length=64).fill(vocab=50).build().eval()
    sample = {"inputs": torch.randint(50, (600,)), "layout": Layout.ragged([60] * 10)}

    def made(**asked):
        return variorum.compile(model, precision="int8", tolerance=0.9, sample=sample, **asked)

    loose = made(tell=silent).plan
    assert loose.least_cosine == -1 and {choice.precision for choice in loose.choices} == {Precision.INT8}
    told: list[str] = []
    least = 1 - (1 - loose.cosine) / 2
    with caplog.at_level(logging.WARNING):
        engine = made(least_cosine=least, tell=told.append)
    assert engine.plan.cosine >= engine.plan.least_cosine == least > loose.cosine
    assert "to keep the tolerance of 0.9 and a cosine of" in caplog.text and "of at least" in told[0]
    assert {choice.precision for choice in engine.plan.choices} - {Precision.INT8}
    with torch.inference_mode():
        cosines = nn.functional.cosine_similarity(engine(**sample), model(**sample), dim=-1)
    assert float(cosines.min()) >= least - 1e-6


def test_a_cosine_stands_for_the_tolerance_of_auto() -> None:
    """Answers as long as they should be, at a cosine of 0.98, err by 0.2; a tolerance that is given stays."""
    assert Limit.of(None, tolerance=None, least_cosine=0.98) == Limit(pytest.approx(0.2), 0.98)
    assert Limit.of(None, tolerance=0.1, least_cosine=0.98) == Limit(0.1, 0.98)
    assert Limit.of(Precision.FLOAT32, tolerance=None, least_cosine=0.98).error == TOLERANCES[Precision.FLOAT32]


def test_how_far_answers_are_apart() -> None:
    """The cosine is the worst one's; numbers that are not finite count where others stand in their place alone."""
    wanted = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0], [-torch.inf, 2.0]])
    found = wanted.clone()
    assert cosine(found, wanted) == pytest.approx(1) and error(found, wanted) == 0
    found[1] = torch.tensor([1.0, 1.0])
    assert cosine(found, wanted) == pytest.approx(0.5**0.5) and error(found, wanted) == pytest.approx(1 / 30**0.5)
    found[0, 0] = torch.nan
    assert cosine(found, wanted) == -1 and error(found, wanted) == float("inf")


def test_a_precision_the_machine_lacks_falls_back_and_says_so(encoder, caplog, monkeypatch) -> None:
    monkeypatch.setattr(module, "missing", lambda p: "no such numbers here" if p is Precision.BFLOAT16 else None)
    with caplog.at_level(logging.WARNING):
        engine = variorum.compile(encoder, precision="bfloat16", tell=silent)
    assert "no such numbers here" in caplog.text
    assert {choice.precision for choice in engine.plan.choices} == {Precision.FLOAT32}


def test_numbers_of_another_type_are_left_and_told(encoder, caplog) -> None:
    """A model in float64 has no faster form: it stays as built, and a warning says so."""
    with caplog.at_level(logging.WARNING):
        engine = variorum.compile(encoder.double(), precision="float32", tell=silent)
    assert {choice.precision for choice in engine.plan.choices} == {Precision.PLAIN}
    assert "not float32" in engine.plan.choices[0].why and "no form in float32" in caplog.text


def test_faults_of_the_caller(encoder) -> None:
    with pytest.raises(VariorumError, match="precision: expected auto or one of"):
        variorum.compile(encoder, precision="int7")
    with pytest.raises(VariorumError, match="tolerance"):
        variorum.compile(encoder, tolerance=-1.0)
    with pytest.raises(VariorumError, match="least_cosine"):
        variorum.compile(encoder, least_cosine=1.0)
    with pytest.raises(VariorumError, match="Pass sample"):
        variorum.compile(nn.Linear(3, 3))
    engine = variorum.compile(encoder, precision="plain", tell=silent)
    with pytest.raises(VariorumError, match="bool tensor"):
        engine(torch.zeros(2, 3, dtype=torch.int64), mask=torch.ones(2, 3))
    with pytest.raises(VariorumError, match="no padding"):
        engine(torch.zeros(2, 3, dtype=torch.int64), mask=torch.ones(2, 3).bool(), layout=Layout.ragged([3, 3]))


def test_images_are_made_up_and_auto_keeps_its_tolerance() -> None:
    """A model of images without a sample; precision left to the engine."""
    torch.manual_seed(0)
    spec = vision(dim=32, depth=1, heads=2, embed=Patches.spec(patch=4))
    model = spec.fill(channels=1, height=8, width=8, classes=3).build()
    engine = variorum.compile(model, tell=silent)
    assert engine.plan.error <= engine.plan.tolerance
    assert engine(torch.randn(3, 1, 8, 8)).shape == (3, 3)


@pytest.mark.parametrize(("shape", "rows"), [((7, 5), 3), ((2, 3, 5), 1), ((13,), 4)])
def test_answers_are_compared_piece_by_piece_as_at_once(shape: tuple[int, ...], rows: int, monkeypatch) -> None:
    wanted = torch.randn(shape)
    found = wanted + 0.1 * torch.randn(shape)
    at_once = measure.error(found, wanted), measure.cosine(found, wanted)
    monkeypatch.setattr(measure, "TOGETHER", rows * 5)
    assert measure.error(found, wanted) == pytest.approx(at_once[0], rel=1e-12)
    assert measure.cosine(found, wanted) == pytest.approx(at_once[1], rel=1e-12)
    wanted[..., -1] = torch.inf
    assert measure.error(found, wanted) == torch.inf


def test_a_large_vocabulary_is_answered_for_fewer_rows() -> None:
    """A search holds the answers many times: 16 rows of 64 tokens of 262,144 words are a gigabyte each time."""
    assert rows_for(256, 64) == 16 and rows_for(262_144, 64) == 2 and rows_for(10**9, 64) == 1
