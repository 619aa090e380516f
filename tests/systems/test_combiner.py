"""Combiner: the factorised attention against its matrix written out, its cost, and what it learns."""

import math
from time import process_time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from house.kept import bears_out
from variorum.core import Layout, Spec, VariorumError, find_entry
from variorum.layers.mixers.attention import Attention
from variorum.layers.mixers.region_attention import RegionAttention
from variorum.layers.patterns.causal import Causal
from variorum.layers.patterns.full import Full
from variorum.layers.positions.bucket_bias import Sides
from variorum.layers.regions.blocks import BlockRegions
from variorum.layers.regions.dyadic import DyadicRegions
from variorum.layers.regions.regions import Pooling
from variorum.layers.regions.rows import RowRegions
from variorum.systems.combiner import Instance, combiner, regions
from variorum.testing.work import work

SLUG = "combiner"
SIDES = list(Sides)
INSTANCES = list(Instance)


class Explicit:
    """p(j|i) of one row and head written out, from the paper's definitions: q and k (n, d)."""

    def __init__(self, q: Tensor, k: Tensor, *, causal: bool, pooling: Pooling) -> None:
        self.q, self.k, self.causal, self.pooling = q, k, causal, pooling
        self.n, self.scale = len(q), 1 / math.sqrt(q.shape[1])

    def matrix(self, ways: list) -> Tensor:
        """ways: functions from i to (direct keys, regions); a region is (members, query, key)."""
        rows = []
        for i in range(self.n):
            scores, spread = [], []
            for way in ways:
                direct, found = way(i)
                for j in direct:
                    scores.append(self.q[i] @ self.k[j] * self.scale)
                    spread.append(torch.eye(self.n, dtype=self.q.dtype)[j])
                for members, query, key in found:
                    scores.append(self.q[i] @ key * self.scale)
                    inside = torch.stack([query @ self.k[j] * self.scale for j in members]).softmax(0)
                    spread.append(torch.zeros(self.n, dtype=self.q.dtype).index_put((torch.tensor(members),), inside))
            rows.append(torch.stack(scores).softmax(0) @ torch.stack(spread))
        return torch.stack(rows)

    def pooled(self, members: list[int]) -> tuple[list[int], Tensor, Tensor]:
        q, k = self.q[members], self.k[members]
        if self.pooling is Pooling.MAX:
            return members, q.amax(0), k.amax(0)
        return members, q.mean(0), k.mean(0)

    def blocks(self, size: int):
        """The own block directly, the others as one each."""

        def way(i: int):
            groups = [list(range(a, min(a + size, self.n))) for a in range(0, self.n, size)]
            own = i // size
            direct = [j for j in groups[own] if j <= i or not self.causal]
            others = [g for b, g in enumerate(groups) if b < own or (b > own and not self.causal)]
            return direct, [self.pooled(g) for g in others]

        return way

    def lines(self, width: int):
        """The own line directly, another through its token in the query's column."""

        def way(i: int):
            groups = [list(range(a, min(a + width, self.n))) for a in range(0, self.n, width)]
            own, column = i // width, i % width
            direct = [j for j in groups[own] if j <= i or not self.causal]
            found = []
            for r, g in enumerate(groups):
                if r < own or (r > own and not self.causal):
                    token = r * width + column
                    there = token < self.n
                    q, k = (t[token] if there else torch.zeros_like(t[0]) for t in (self.q, self.k))
                    found.append((g, q, k))
            return direct, found

        return way

    def dyadic(self):
        """The own key, and the tokens before (and after) it in regions of powers of two, the furthest largest."""

        def parted(count: int) -> list[range]:
            found, at = [], 0
            for level in reversed(range(count.bit_length())):
                if count >> level & 1:
                    found.append(range(at, at + 2**level))
                    at += 2**level
            return found

        def way(i: int):
            found = [list(r) for r in parted(i)]
            if not self.causal:
                whole = 2 ** (self.n - 1).bit_length()
                for mirrored in parted(whole - 1 - i):
                    members = [whole - 1 - j for j in mirrored if whole - 1 - j < self.n]
                    found += [sorted(members)] if members else []
            return [i], [self.pooled(g) for g in found]

        return way

    def of(self, instance: Instance, segment: int) -> Tensor:
        return self.matrix({
            Instance.FIXED: [self.blocks(segment)],
            Instance.LOGSPARSE: [self.dyadic()],
            Instance.AXIAL: [self.lines(segment)],
            Instance.MIXTURE: [self.blocks(segment), self.lines(segment)],
        }[instance])  # fmt: skip


def fast(instance: Instance, x: Tensor, *, causal: bool, pooling: Pooling) -> tuple[Tensor, list[Tensor]]:
    """What the system's own mixer, with one head, gives for a row; and its q, k, v, the last as it is given out."""
    mixer = combiner(dim=8, depth=1, heads=1, length=64, segment=8, instance=instance).at("blocks[0].mixer")
    part = mixer.but(pooling=pooling) if causal else mixer.but(pooling=pooling, sides=Sides.BOTH)
    built = part.build(dim=8).double()
    q, k, v = built.qkv(x).chunk(3, dim=-1)
    return built(x[None])[0] - built.out.bias, [q, k, v @ built.out.weight.T]


@pytest.mark.row(SLUG, 0)
@pytest.mark.parametrize("pooling", list(Pooling))
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("instance", INSTANCES)
@pytest.mark.parametrize("n", [64, 1, 2, 37])
def test_it_equals_its_matrix_written_out(instance: Instance, n: int, causal: bool, pooling: Pooling) -> None:
    """For 64 tokens (and 1, 2 and 37) the explicit p(j|i) has rows of sum 1, no zero where a key is allowed, none where
    it is not, and times V it equals what the system's mixer gives to 1e-10: all instances, both ways and causal, both
    poolings.
    """
    torch.manual_seed(0)
    found, (q, k, v) = fast(instance, 3 * torch.randn(n, 8, dtype=torch.float64), causal=causal, pooling=pooling)
    p = Explicit(q, k, causal=causal, pooling=pooling).of(instance, 8)
    torch.testing.assert_close(p.sum(1), torch.ones(n, dtype=p.dtype), atol=1e-12, rtol=0)
    allowed = torch.ones(n, n).tril() > 0 if causal else torch.ones(n, n) > 0
    assert (p[allowed] > 0).all() and (p[~allowed] == 0).all()
    torch.testing.assert_close(found, p @ v, atol=1e-10, rtol=0)


@pytest.mark.row(SLUG, 1)
@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("parted", [
    BlockRegions.spec(size=1), BlockRegions.spec(size=50), RowRegions.spec(width=1), RowRegions.spec(width=50),
], ids=str)  # fmt: skip
def test_regions_of_one_token_are_softmax_attention(parted: Spec, sides: Sides) -> None:
    """With regions of one token, or all keys direct, it equals softmax attention to 1e-10, on uneven packed rows."""
    torch.manual_seed(0)
    pattern = Causal.spec() if sides is Sides.PAST else Full.spec()
    ours = RegionAttention.spec(heads=2, regions=parted, sides=sides).build(dim=16).double()
    full = Attention.spec(heads=2, pattern=pattern).build(dim=16).double()
    full.load_state_dict(ours.state_dict())
    lengths = [50, 1, 0, 23]
    x = torch.randn(74, 16, dtype=torch.float64)
    torch.testing.assert_close(ours(x, Layout.ragged(lengths)), full(x, Layout.ragged(lengths)), atol=1e-10, rtol=0)


@pytest.mark.row(SLUG, 1)
def test_doubling_regions_are_softmax_attention_where_they_hold_one_token() -> None:
    """Two tokens in a row: both regions hold one, and doubling regions equal softmax attention to 1e-10."""
    torch.manual_seed(0)
    ours = RegionAttention.spec(heads=2, regions=DyadicRegions.spec()).build(dim=16).double()
    full = Attention.spec(heads=2).build(dim=16).double()
    full.load_state_dict(ours.state_dict())
    x = torch.randn(3, 2, 16, dtype=torch.float64)
    torch.testing.assert_close(ours(x), full(x), atol=1e-10, rtol=0)


def sized(instance: Instance | None, n: int):
    """A mixer for rows of n tokens, its segments as long as the root of n; None: full attention."""
    if instance is None:
        return Attention.spec(heads=2, pattern=Causal.spec()).build(dim=32).eval()
    spec = regions(instance, math.isqrt(n))
    return RegionAttention.spec(heads=2, regions=spec, sides=Sides.PAST).build(dim=32).eval()


LIMITS = [(Instance.LOGSPARSE, 0.0, 1.2), (Instance.FIXED, 0.0, 1.65), (Instance.AXIAL, 0.0, 1.65), (None, 1.8, 2.2)]


@pytest.mark.row(SLUG, 2)
@pytest.mark.parametrize(("instance", "low", "high"), LIMITS)
def test_work_grows_as_claimed(instance: Instance | None, low: float, high: float) -> None:
    """From 256 to 4,096 tokens work grows with exponent below 1.2 (logsparse), 1.65 (fixed, axial), above 1.8 (full).

    Growth is that of the difference between lengths, so that what does not grow is left out; segments are sqrt(n) long.
    """
    counts = []
    for n in (256, 1024, 4096):
        part = sized(instance, n)
        with torch.no_grad():
            counts.append(work(lambda n=n, part=part: part(torch.randn(1, n, 32))))
    assert low <= math.log((counts[2] - counts[1]) / (counts[1] - counts[0])) / math.log(4) <= high


@pytest.mark.slow
@pytest.mark.row(SLUG, 2)
@pytest.mark.parametrize(("instance", "low", "high"), LIMITS)
def test_time_grows_as_claimed(instance: Instance | None, low: float, high: float) -> None:
    """Measured from 1,024 to 16,384 tokens on one thread time grows likewise; shorter rows are lost in the overhead."""
    seconds = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for n in (1024, 16384):
            part, x = sized(instance, n), torch.randn(1, n, 32)
            found = []
            with torch.no_grad():
                for _ in range(4):
                    begin = process_time()
                    part(x)
                    found.append(process_time() - begin)
            seconds.append(min(found))
    finally:
        torch.set_num_threads(threads)
    assert low <= math.log(seconds[1] / seconds[0]) / math.log(16) <= high


@pytest.mark.row(SLUG, 2)
@pytest.mark.parametrize("instance", INSTANCES)
def test_no_instance_looks_ahead(instance: Instance) -> None:
    """Changing later tokens of 50 changes no earlier output of a whole model at all, wherever the change begins."""
    torch.manual_seed(0)
    spec = find_entry(SLUG).spec(dim=16, depth=2, heads=2, length=64, segment=8, instance=instance)
    model = spec.fill(vocab=31).build().eval()
    ids = torch.randint(31, (1, 50))
    with torch.no_grad():
        whole = model(ids)
        for t in (1, 7, 8, 9, 31, 49):
            changed = torch.cat([ids[:, :t], torch.randint(31, (1, 50 - t))], dim=1)
            assert torch.equal(model(changed)[:, :t], whole[:, :t])


@pytest.mark.parametrize("instance", INSTANCES)
def test_uneven_rows(instance: Instance) -> None:
    """Packed rows of 0 to 40 tokens give what each gives alone."""
    torch.manual_seed(0)
    part = RegionAttention.spec(heads=2, regions=regions(instance, 6), sides=Sides.PAST).build(dim=16).double()
    lengths = [40, 0, 1, 17]
    x = torch.randn(58, 16, dtype=torch.float64)
    for row, found in zip(x.split(lengths), part(x, Layout.ragged(lengths)).split(lengths), strict=True):
        torch.testing.assert_close(found, part(row[None])[0], atol=1e-10, rtol=0)


@pytest.mark.parametrize("instance", INSTANCES)
def test_published_sizes(instance: Instance) -> None:
    """The official language models hold 12 layers of width 768: 85 million parameters in blocks."""
    with torch.device("meta"):
        model = find_entry(SLUG).spec(f"wiki40b-{instance.value}").fill(vocab=32000).build()
    assert sum(p.numel() for p in model.blocks.parameters()) == pytest.approx(85.05e6, rel=0.01)


def test_impossible_regions_are_refused() -> None:
    for spec in (BlockRegions.spec(size=0), RowRegions.spec(width=0)):
        with pytest.raises(VariorumError, match="1 token or more"):
            spec.build()


@pytest.mark.slow
@pytest.mark.row(SLUG, 3)
def test_claim_regions_help() -> None:
    """A fresh run of RegionsHelp comes out as CLAIMS.md has it."""
    bears_out("RegionsHelp")


@pytest.mark.parametrize("instance", INSTANCES)
def test_a_stream_equals_the_whole(instance):
    """After packed prompts of 0, 1, 9 and 9 tokens pieces of 3 and of 1 are answered as whole rows are, to 1e-10."""
    torch.manual_seed(0)
    spec = find_entry(SLUG).spec(dim=16, depth=2, heads=2, length=32, segment=4, instance=instance)
    model = spec.fill(vocab=11).build().double().eval()
    prompts = [0, 1, 9, 9]
    rows = [torch.randint(11, (n + 10,)) for n in prompts]
    with torch.no_grad():
        first = torch.cat([row[:n] for row, n in zip(rows, prompts, strict=True)])
        _, state = model.advance(first, model.start(4), Layout.ragged(prompts))
        told, rest = [], torch.stack([row[-10:] for row in rows])
        for piece in rest.split([3, 1, 1, 5], dim=1):
            y, state = model.advance(piece, state)
            told.append(y)
        for row, found in zip(rows, torch.cat(told, dim=1), strict=True):
            torch.testing.assert_close(found, model(row[None])[0, -10:], atol=1e-10, rtol=0)


@given(
    st.lists(st.integers(0, 21), min_size=1, max_size=4),
    st.integers(0, 9),
    st.integers(1, 6),
    st.sampled_from(INSTANCES),
    st.sampled_from(Pooling),
)
def test_rows_that_go_on_together_are_each_as_when_whole(lengths, n, segment, instance, pooling):
    """Uneven rows that go on by 0 to 9 tokens are answered as each is whole; what a cache holds behind an end is not
    looked at.
    """
    torch.manual_seed(0)
    spec = RegionAttention.spec(heads=2, regions=regions(instance, segment), sides=Sides.PAST, pooling=pooling)
    mixer = spec.build(dim=4).double()
    rows = [torch.randn(length + n, 4).double() for length in lengths]
    with torch.no_grad():
        first = torch.cat([row[:length] for row, length in zip(rows, lengths, strict=True)])
        _, state = mixer.advance(first, mixer.start(len(rows)), Layout.ragged(lengths))
        for name in ("queries", "keys", "values"):
            for held, length in zip(state.tensor(name), lengths, strict=True):
                held[length:] = 1e3
        told, state = mixer.advance(torch.stack([row[len(row) - n :] for row in rows]), state)
        assert state.tensor("length").tolist() == [len(row) for row in rows]
        for row, length, found in zip(rows, lengths, told, strict=True):
            torch.testing.assert_close(found, mixer(row[None])[0, length:], atol=1e-10, rtol=0)


@pytest.mark.parametrize("instance", INSTANCES)
def test_rows_go_on_in_bfloat16(instance):
    """As whole rows do, to the bits of the type."""
    torch.manual_seed(0)
    spec = RegionAttention.spec(heads=2, regions=regions(instance, 4), sides=Sides.PAST)
    mixer, x = spec.build(dim=8).bfloat16(), torch.randn(2, 11, 8).bfloat16()
    with torch.no_grad():
        _, state = mixer.advance(x[:, :6], mixer.start(2))
        told, _ = mixer.advance(x[:, 6:], state)
        torch.testing.assert_close(told, mixer(x)[:, 6:], atol=2e-2, rtol=0)


def test_both_ways_does_not_stream():
    """A mixer that looks both ways says so."""
    part = RegionAttention.spec(heads=2, regions=BlockRegions.spec(size=4)).build(dim=8)
    assert not part.traits.streams
    with pytest.raises(VariorumError, match="causal"):
        part.advance(torch.zeros(1, 1, 8), part.start(1))
