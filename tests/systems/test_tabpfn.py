"""TabPFN: rows as tokens, attention to labelled rows only, a network fitted to a prior and never to the table."""

import math
import time
import warnings
from contextlib import contextmanager
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import yeojohnson
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer, StandardScaler
from torch import nn

import variorum
from variorum.core import Layout, Tower, VariorumError, find_entry, isolated
from variorum.data.priors.bnn import BnnPrior
from variorum.data.priors.mixed import MixedPrior
from variorum.data.priors.prior import NO_TARGET, Prior, classes, skewed
from variorum.data.priors.scm import ScmPrior
from variorum.data.table import TableTask
from variorum.models.in_context import InContext, yeo_johnson
from variorum.runtime.bundle import Bundle, save
from variorum.systems.tabpfn import tabpfn
from variorum.train.prior_fitted import PriorFitted
from variorum.train.recipe import Budget, Run

SLUG = "tabpfn"
SMALL = {"dim": 32, "depth": 3, "heads": 4, "hidden": 64, "features": 6, "classes": 5}


def small(**more):
    """A small network of random weights, none of them near zero."""
    torch.manual_seed(0)
    model = tabpfn(**(SMALL | more)).build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def rows(batch, known, asked, columns=4):
    """Rows of random numbers and classes, (batch, known + asked, columns + 1), the asked ones without a label."""
    x, label = torch.randn(batch, known + asked, columns), torch.randint(5, (batch, known + asked, 1)).float()
    label[:, known:] = torch.nan
    return torch.cat([x, label], dim=-1)


# --- the network ------------------------------------------------------------------------------------------------------


@pytest.mark.row(SLUG, 0)
def test_published_size():
    """The published configuration has exactly 25,821,706 parameters."""
    with torch.device("meta"):
        model = find_entry(SLUG).spec("tabpfn").build()
    assert sum(p.numel() for p in model.parameters()) == 25_821_706


def encoder(ours, *, dim, depth, heads, hidden):
    """torch's encoder with the weights of ours."""
    layer = nn.TransformerEncoderLayer(dim, heads, hidden, dropout=0.0, activation="gelu", batch_first=True)
    theirs = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False).eval()
    with torch.no_grad():
        for other, block in zip(theirs.layers, ours.blocks, strict=True):
            for name in ("weight", "bias"):
                getattr(other.self_attn, f"in_proj_{name}").copy_(getattr(block.mixer.inner.qkv, name))
                getattr(other.self_attn.out_proj, name).copy_(getattr(block.mixer.inner.out, name))
            other.norm1.load_state_dict(block.mixer_residual.norm.state_dict())
            other.linear1.load_state_dict(block.channels.up.state_dict())
            other.linear2.load_state_dict(block.channels.down.state_dict())
            other.norm2.load_state_dict(block.channels_residual.norm.state_dict())
    return theirs


@pytest.mark.row(SLUG, 1)
@pytest.mark.parametrize(("known", "asked"), [(7, 5), (1, 4), (12, 1)])
def test_equals_torchs_encoder_under_the_explicit_mask(known, asked):
    """The network equals torch.nn.TransformerEncoder with the mask "known rows only" on copied weights, to 1e-5."""
    ours = small()
    theirs = encoder(ours, **{k: SMALL[k] for k in ("dim", "depth", "heads", "hidden")})
    inputs, n = rows(3, known, asked), known + asked
    x, y = inputs[..., :4], inputs[..., 4:]
    w = ours.embed.row.weight[:, :4] * (SMALL["features"] / 4)
    tokens = x @ w.T + ours.embed.row.bias
    tokens[:, :known] += y[:, :known] * ours.embed.label.weight[:, 0] + ours.embed.label.bias
    barred = torch.zeros(n, n, dtype=torch.bool)
    barred[:, known:] = True
    answers = theirs(tokens, mask=barred)
    answers = F.gelu(F.linear(answers, ours.head.up.weight, ours.head.up.bias))
    answers = F.linear(answers, ours.head.down.weight, ours.head.down.bias)
    torch.testing.assert_close(ours(inputs), answers, atol=1e-5, rtol=0)
    assert not torch.allclose(theirs(tokens), theirs(tokens, mask=barred), atol=1e-3), "the mask must matter"


@pytest.mark.row(SLUG, 1)
def test_order_of_known_rows_does_not_matter():
    """Predictions do not change when the known rows change places."""
    model, inputs = small(), rows(2, 20, 9)
    shuffled = torch.cat([inputs[:, torch.randperm(20)], inputs[:, 20:]], dim=1)
    torch.testing.assert_close(model(shuffled)[:, 20:], model(inputs)[:, 20:], atol=1e-5, rtol=0)


@pytest.mark.row(SLUG, 1)
def test_asked_rows_do_not_see_each_other():
    """64 rows asked for at once get the answers that each gets alone."""
    model, inputs = small(), rows(1, 20, 64)
    alone = [model(torch.cat([inputs[:, :20], inputs[:, i : i + 1]], dim=1))[:, 20:] for i in range(20, 84)]
    torch.testing.assert_close(model(inputs)[:, 20:], torch.cat(alone, dim=1), atol=1e-5, rtol=0)


def test_known_rows_may_stand_anywhere_and_uneven_tables_may_be_packed():
    model, inputs = small(), rows(2, 6, 3)
    order = torch.randperm(9)
    torch.testing.assert_close(model(inputs[:, order]), model(inputs)[:, order], atol=1e-5, rtol=0)
    first, second = inputs[:1], rows(1, 2, 5)
    packed = model(torch.cat([first[0], second[0]]), Layout.ragged([9, 7]))
    torch.testing.assert_close(packed, torch.cat([model(first)[0], model(second)[0]]), atol=1e-5, rtol=0)


# --- an exact posterior -----------------------------------------------------------------------------------------------

THRESHOLDS, NOISE, MOST_KNOWN, ASKED = torch.linspace(-2, 2, 16), 0.3, 32, 32
"""The hypotheses: x is normal, and the class is 1 where x + 0.3 normal noise is above the threshold."""


def likelihood(x):
    """p(class 1 | x, threshold): (..., 16)."""
    return torch.special.ndtr((x.unsqueeze(-1) - THRESHOLDS) / NOISE)


def posterior(x, y):
    """p(threshold | known rows): x, y (batch, m) -> (batch, 16), all thresholds as likely before."""
    p = likelihood(x.double())
    told = torch.where(y.unsqueeze(-1) == 1, p, 1 - p).clamp(min=1e-300).log().sum(dim=1)
    return told.softmax(dim=-1)


def drawn(generator, size, known):
    """Tables of one column, (size, known + ASKED), their classes and the index of their thresholds."""
    which = torch.randint(16, (size,), generator=generator)
    x = torch.randn(size, known + ASKED, generator=generator)
    noisy = x + NOISE * torch.randn(size, known + ASKED, generator=generator)
    return x, (noisy > THRESHOLDS[which].unsqueeze(1)).long(), which


@cache
def threshold_network():
    """A network fitted to the sixteen hypotheses: 600 steps of 32 tables."""
    with isolated():

        class ThresholdPrior(Prior):
            """Tables of one column cut at one of sixteen thresholds."""

            def draw(self, generator, size):
                known = int(skewed(generator, 1, MOST_KNOWN, 1))
                x, y, _ = drawn(generator, size, known)
                return x.unsqueeze(-1), y, known

        descent = PriorFitted().descent.but(batch=32).build()
        spec = tabpfn(dim=64, depth=3, heads=4, hidden=128, features=1, classes=2)
        return descent.train(spec, ThresholdPrior(), Run(Budget(steps=600)))


def divergence(p, q):
    """Mean KL(Bernoulli(p) || Bernoulli(q)) in nats."""
    return float((p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean())


@torch.no_grad()
def divergences(model, known):
    """Of 512 fresh tables: KL of the network's answers from the exact posterior predictive, and from the true law."""
    x, y, which = drawn(torch.Generator().manual_seed(10_000 + known), 512, known)
    label = y.float()
    label[:, known:] = torch.nan
    told = model(torch.stack([x, label], dim=-1))[:, known:].double().softmax(dim=-1)[..., 1]
    p = likelihood(x[:, known:].double()).clamp(1e-12, 1 - 1e-12)
    exact = (posterior(x[:, :known], y[:, :known]).unsqueeze(1) * p).sum(dim=-1)
    true = p.gather(2, which.view(-1, 1, 1).expand(-1, ASKED, 1)).squeeze(-1)
    return divergence(exact, told), divergence(true, told)


@pytest.mark.slow
@pytest.mark.row(SLUG, 2)
def test_answers_are_the_exact_posterior_predictive():
    """Within 0.03 nats of the exact posterior predictive of sixteen hypotheses, nearer with 32 known rows than with 2.

    Measured: 0.0047, 0.0041, 0.0033, 0.0035, 0.0036 nats with 2, 4, 8, 16, 32 known rows; from the law that made the
    table 0.167, 0.111, 0.060, 0.033, 0.019. Only the second must fall at each doubling: the first is the error of the
    fit, and levels off.
    """
    model = threshold_network()
    found = {known: divergences(model, known) for known in (2, 4, 8, 16, 32)}
    exact, true = zip(*found.values(), strict=True)
    assert max(exact) < 0.03 and exact[-1] < exact[0], found
    assert all(after < before for before, after in pairwise(true)), found


# --- the prior against real tables ------------------------------------------------------------------------------------


@cache
def fitted_network():
    """The laptop-size network fitted to the entry's prior."""
    entry = find_entry(SLUG)
    recipe = entry.recipe
    return recipe["descent"].build().train(entry.fit("table"), recipe["prior"].build(), Run(Budget(steps=STEPS)))


STEPS = 1000


def real_tables():
    """Half of each table known, half asked, three splits: name, seed, x, y, x asked, y asked."""
    for name, read in {"wine": load_wine, "iris": load_iris, "breast_cancer": load_breast_cancer}.items():
        x, y = read(return_X_y=True)
        for seed in range(3):
            known, asked = next(StratifiedShuffleSplit(1, test_size=0.5, random_state=seed).split(x, y))
            a, b = x[known], x[asked]
            if name == "breast_cancer":
                down = make_pipeline(StandardScaler(), PCA(10, random_state=0)).fit(a)
                a, b = down.transform(a), down.transform(b)
            yield name, seed, a, y[known], b, y[asked]


def knowing(model, x, y, **more):
    """The network with these rows known."""
    spec = model.built_from
    shown = InContext.spec(rows=len(y), outputs=spec.at("head.outputs"), model=spec, **more).build(
        columns=(0,) * x.shape[1], classes=int(y.max()) + 1)  # fmt: skip
    shown.model.load_state_dict(model.state_dict())
    shown.know(torch.from_numpy(x).float(), torch.from_numpy(y))
    return shown.eval()


@torch.no_grad()
def accuracies(model, seed, x, y, asked, truth):
    """Of the network, a random forest, and logistic regression that is told ten rows a class."""
    ours = (
        knowing(model, x, y, members=find_entry(SLUG).recipe["members"])(torch.from_numpy(asked).float())
        .argmax(dim=-1)
        .numpy()
    )
    rng = np.random.default_rng(seed)
    few = np.concatenate([rng.permutation(np.flatnonzero(y == c))[:10] for c in np.unique(y)])
    forest = RandomForestClassifier(random_state=seed).fit(x, y)
    line = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x[few], y[few])
    return (ours == truth).mean(), forest.score(asked, truth), line.score(asked, truth)


@pytest.mark.slow
@pytest.mark.row(SLUG, 3)
def test_real_tables_against_a_forest_and_logistic_regression():
    """Fitted to the prior alone: within 5 points of a random forest, above logistic regression on 10 rows a class."""
    model, found = fitted_network(), {}
    for name, *table in real_tables():
        found.setdefault(name, []).append(accuracies(model, *table))
    means = {name: np.mean(of, axis=0) for name, of in found.items()}
    ours, forest, line = np.mean(list(means.values()), axis=0)
    assert ours > forest - 0.05 and ours > line, means


@pytest.mark.row(SLUG, 3)
def test_a_hundred_rows_in_a_second():
    """The laptop-size network answers 100 rows, 300 known, in less than a second."""
    model = find_entry(SLUG).fit("table").build()
    x, y = np.random.default_rng(0).normal(size=(300, 10)), np.arange(300) % 3
    shown = knowing(model, x, y, members=find_entry(SLUG).recipe["members"])
    asked = torch.randn(100, 10)
    with torch.no_grad():
        shown(asked)
        start = time.process_time()  # a machine that is shared must not fail it
        shown(asked)
    assert time.process_time() - start < 1


# --- priors -----------------------------------------------------------------------------------------------------------

PRIORS = [
    ScmPrior.spec(rows=40, features=6, most_classes=5),
    BnnPrior.spec(rows=40, features=6, most_classes=5),
    MixedPrior.spec(first=ScmPrior.spec(rows=40, features=6, most_classes=5),
                    second=BnnPrior.spec(rows=40, features=6, most_classes=5)),
]  # fmt: skip


def same(a, b):
    return a.shape == b.shape and torch.equal(a.nan_to_num(nan=-7), b.nan_to_num(nan=-7))


@pytest.mark.parametrize("prior", PRIORS, ids=lambda spec: spec.part)
def test_a_priors_batch_is_told_by_seed_and_step(prior):
    first, second = prior.build(), prior.build()
    second.batch(0, 3, 0)
    a, b = first.batch(5, 3, 1), second.batch(5, 3, 1)
    assert same(a.inputs["inputs"], b.inputs["inputs"]) and torch.equal(a.targets, b.targets)
    assert not same(a.inputs["inputs"], first.batch(6, 3, 1).inputs["inputs"])
    assert not same(a.inputs["inputs"], first.batch(5, 3, 2).inputs["inputs"])
    for split in ("valid", "test"):
        whole = list(first.held_out(split, 64))
        pieces = [batch.inputs["inputs"] for batch in second.held_out(split, 16)]
        assert len(whole) == 8 and len(pieces) == 32
        for i, kept in enumerate(whole):
            assert same(kept.inputs["inputs"], torch.cat(pieces[4 * i : 4 * i + 4]))
            assert not same(kept.inputs["inputs"][:3], a.inputs["inputs"])


@pytest.mark.parametrize("prior", PRIORS, ids=lambda spec: spec.part)
def test_a_priors_tables_are_sound(prior):
    made, columns_seen, classes_seen = prior.build(), set(), set()
    for step in range(60):
        batch = made.batch(step, 4, 0)
        x, label = batch.inputs["inputs"][..., :-1], batch.inputs["inputs"][..., -1]
        known = (batch.targets == NO_TARGET)[0].sum()
        assert x.isfinite().all() and x.abs().max() <= 10 and x.dtype == torch.float32
        assert 0 < known < 40
        assert label[:, :known].isfinite().all() and label[:, known:].isnan().all()
        assert (batch.targets[:, :known] == NO_TARGET).all() and (batch.targets[:, known:] >= 0).all()
        every = torch.where(label.isnan(), batch.targets, label).long()
        assert 0 <= int(every.min()) <= int(every.max()) < 5
        columns_seen.add(x.shape[-1])
        classes_seen |= {len(row.unique()) for row in every}
    assert columns_seen == set(range(1, 7)) and classes_seen >= {2, 3, 4, 5}


@pytest.mark.parametrize("prior", [ScmPrior, BnnPrior])
def test_a_priors_labels_follow_from_its_columns(prior):
    """A forest of the known rows beats the commonest class of the asked ones: there is something to learn."""
    made, gain = prior(rows=128, features=6, most_classes=3), []
    for step in range(24):
        batch = made.batch(step, 1, 0)
        x, y = batch.inputs["inputs"][0, :, :-1].numpy(), batch.inputs["inputs"][0, :, -1].numpy()
        known, truth = ~np.isnan(y), batch.targets[0].numpy()[np.isnan(y)]
        forest = RandomForestClassifier(20, random_state=0).fit(x[known], y[known]).score(x[~known], truth)
        gain.append(forest - np.bincount(truth).max() / len(truth))
    assert np.mean(gain) > 0.05, gain


def test_classes_are_intervals_and_as_many_as_asked_at_most():
    generator = torch.Generator().manual_seed(0)
    value, count = torch.randn(200, 50, generator=generator), torch.arange(200) % 4 + 2
    found = classes(value, count, generator)
    assert (found >= 0).all() and (found.max(dim=1).values < count).all()
    changes = found.gather(1, value.argsort(dim=1)).diff(dim=1).ne(0).sum(dim=1)
    assert torch.equal(changes + 1, torch.tensor([len(row.unique()) for row in found])), "each class is one interval"
    firsts = found[count == 5].gather(1, value[count == 5].argmin(dim=1, keepdim=True))
    assert len(firsts.unique()) == 5, "the lowest interval may have any name"


# --- the known rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [-1.5, 0.0, 0.5, 1.0, 2.0, 3.0])
def test_yeo_johnson_is_scipys(power):
    x = torch.linspace(-4, 4, 33, dtype=torch.float64)
    expected = torch.from_numpy(yeojohnson(x.numpy(), power))
    torch.testing.assert_close(yeo_johnson(x, torch.tensor(power, dtype=torch.float64)), expected, atol=1e-10, rtol=0)


@contextmanager
def known_network(name):
    """InContext on a network whose answer is known; what a member sees is all that it goes by."""
    with isolated():

        class First(Tower):
            """Class k gets k times the first column."""

            def forward(self, inputs, layout=None, memory=None):
                return inputs[..., :1] * torch.arange(4.0)

            def hidden(self, inputs, layout=None, memory=None):
                return inputs, layout

        class Nearest(Tower):
            """Class k gets 5 if the nearest known row is of class k."""

            def forward(self, inputs, layout=None, memory=None):
                x, y = inputs[..., :-1], inputs[..., -1]
                far = torch.cdist(x, x).masked_fill(y.isnan().unsqueeze(1), math.inf).argmin(dim=-1)
                return 5 * F.one_hot(y.gather(1, far).long(), 4).float()

            def hidden(self, inputs, layout=None, memory=None):
                return inputs, layout

        yield {"first": First, "nearest": Nearest}[name].spec()


def shown(name, members, x, y):
    """``known_network`` with rows known, three classes of four outputs."""
    with known_network(name) as tower:
        made = InContext(columns=(0,) * x.shape[1], classes=3, rows=len(y), outputs=4, members=members, model=tower)
    made.know(x, y)
    return made


@pytest.mark.parametrize("members", [1, 2, 3, 4, 7])
def test_class_names_are_turned_back(members):
    """The nearest known row has the same class in every member, so all agree on its own name."""
    torch.manual_seed(0)
    x, y = torch.randn(12, 3), torch.arange(12) % 3
    expected = (5 * F.one_hot(y, 3).float()).log_softmax(dim=-1)
    torch.testing.assert_close(shown("nearest", members, x, y)(x), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("members", [1, 2, 3, 4, 5])
def test_members_are_averaged(members):
    """Probabilities are the mean over members, each with its columns and classes turned and every other one bent."""
    torch.manual_seed(0)
    x, y, asked = torch.randn(30, 3).exp() * 4 + 1, torch.arange(30) % 3, torch.randn(5, 3).exp() * 4 + 1
    scaler = StandardScaler().fit(x.numpy())
    plain = scaler.transform(asked.numpy())
    bent = PowerTransformer().fit(scaler.transform(x.numpy()).astype(np.float64)).transform(plain)
    expected = np.zeros((5, 3))
    for m in range(members):
        seen = np.roll(bent if m % 2 else plain, m // 2, axis=1)
        scores = np.exp(seen[:, :1] * np.arange(3))
        told = scores / scores.sum(axis=1, keepdims=True)
        expected += np.roll(told, -m, axis=1) / members
    found = shown("first", members, x, y)(asked).exp()
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-4)


def test_missing_numbers_constant_columns_and_far_rows():
    x, y = torch.randn(12, 3, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
    x[0, 0], x[:, 1] = torch.nan, 4.0
    asked = torch.tensor([[torch.nan, 4.0, 0.0], [1e6, -1e6, 1e6]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = shown("nearest", 4, x, y)
    assert made(asked).isfinite().all()
    mean = torch.tensor([[float(x[1:, 0].mean()), 4.0, 0.0]])
    torch.testing.assert_close(made(asked[:1]), made(mean), atol=1e-6, rtol=0)


def test_a_bundle_keeps_the_known_rows(tmp_path):
    task = TableTask("iris")
    x, y = task.arrays("train")
    model = small(features=4)
    made = knowing(model, x, y, members=3)
    frame = load_iris(as_frame=True).data
    frame.columns = [column.name for column in task.preprocess.build().columns]
    before = Bundle.of(made, task)
    after = variorum.load(save(before, tmp_path / "b"))
    assert torch.equal(after.model.x, made.x) and torch.equal(after.model.y, made.y)
    told = before.predict(frame)
    assert len(told) == 150 and after.predict(frame).equals(told)


# --- the recipe and errors --------------------------------------------------------------------------------------------


def recipe(**more):
    descent = PriorFitted().descent.but(batch=2)
    return PriorFitted(prior=ScmPrior.spec(rows=16, features=4, most_classes=3), descent=descent, **more)


def test_the_recipe_never_trains_on_the_table_and_keeps_a_share_of_each_class():
    spec, run = tabpfn(**(SMALL | {"depth": 1, "features": 13})), Run(Budget(steps=2))
    iris, wine = (recipe(most_rows=31).train(spec, TableTask(name), run) for name in ("iris", "wine"))
    for (name, a), b in zip(iris.model.named_parameters(), wine.model.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert sorted(iris.y.bincount().tolist()) == [10, 10, 11] and not iris.training


@pytest.mark.parametrize(
    ("table", "sizes", "says"),
    [
        ("diabetes", {}, "a table whose target is a class"),
        ("iris", {"features": 3}, "at most 3 columns"),
        ("iris", {"classes": 2}, "2 classes"),
    ],
)
def test_tables_that_do_not_fit_are_refused_before_any_training(table, sizes, says):
    with pytest.raises(VariorumError, match=says):
        recipe().train(tabpfn(**(SMALL | sizes)), TableTask(table), Run(Budget()))


def test_rows_that_do_not_fit_are_refused():
    with pytest.raises(VariorumError, match="1 to 6 columns"):
        small()(rows(1, 3, 2, columns=7))
    model = small()
    with pytest.raises(VariorumError, match="at most 5"):
        InContext(columns=(0, 0), classes=6, rows=4, outputs=5, model=model.built_from)
    made = InContext(columns=(0, 0), classes=2, rows=4, outputs=5, model=model.built_from)
    with pytest.raises(VariorumError, match="known rows"):
        made.know(torch.randn(1, 2), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(VariorumError, match="classes from 0 to 1"):
        made.know(torch.randn(4, 2), torch.tensor([0, 1, 2, 1]))
