import math
from collections import Counter, defaultdict

import pytest
import torch

from variorum.core import Layout, VariorumError
from variorum.data.sets.bundled import sets
from variorum.models.ngram import NGram


def naive(texts, vocab, order):
    """Interpolated Kneser-Ney from dictionaries, one probability at a time: P(word, history)."""
    counts = {}
    for k in range(1, order + 1):
        if k == order:
            counts[k] = Counter(tuple(t[i : i + k]) for t in texts for i in range(len(t) - k + 1))
        else:
            before = defaultdict(set)
            for t in texts:
                for i in range(len(t) - k + 1):
                    before[tuple(t[i : i + k])].add(t[i - 1] if i else "start")
            counts[k] = Counter({gram: len(who) for gram, who in before.items()})

    def probability(word, history):
        p = 1 / vocab
        for k in range(1, order + 1):
            if len(history) < k - 1:
                break
            h = tuple(history[len(history) - (k - 1) :])
            followers = {gram[-1]: c for gram, c in counts[k].items() if gram[:-1] == h}
            if not followers:
                continue
            once, twice = (sum(c == n for c in counts[k].values()) for n in (1, 2))
            d = once / (once + 2 * twice) if once and twice else 0.5
            total = sum(followers.values())
            p = max(followers.get(word, 0) - d, 0) / total + d * len(followers) / total * p
        return p

    return probability


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_equals_dictionaries(order):
    torch.manual_seed(0)
    texts = [(torch.rand(60) ** 2 * 5).long(), (torch.rand(25) ** 2 * 5).long(), torch.tensor([4])]
    model, p = NGram.fit(texts, vocab=6, order=order), naive([t.tolist() for t in texts], 6, order)
    rows = torch.randint(0, 6, (3, 9))
    found = model(rows)
    wanted = [[[math.log(p(w, row[: t + 1])) for w in range(6)] for t in range(9)] for row in rows.tolist()]
    torch.testing.assert_close(found, torch.tensor(wanted), atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def shakespeare():
    text = sets()["shakespeare"].read()[:200_000]
    letters = sorted(set(text))
    return torch.tensor([letters.index(c) for c in text]), len(letters)


def test_real_text(shakespeare):
    ids, vocab = shakespeare
    bits = []
    for order in (1, 2, 4):
        model = NGram.fit(ids[:180_000], vocab=vocab, order=order)
        held = ids[180_000:].view(-1, 100)
        log_p = model(held[:, :-1])
        torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(held.shape[0], 99), atol=1e-5, rtol=0)
        bits.append(float(-log_p.gather(-1, held[:, 1:, None]).mean()) / math.log(2))
    assert bits[0] > 4.4 > bits[1] > 3.5 > bits[2] and bits[2] < 2.75


def test_piece_by_piece_packed_and_causal(shakespeare):
    ids, vocab = shakespeare
    model = NGram.fit(ids[:20_000], vocab=vocab, order=4)
    rows = ids[20_000:20_060].view(3, 20)
    whole = model(rows)
    state, pieces = model.start(3), []
    for piece in rows.split([1, 5, 2, 12], dim=1):
        out, state = model.advance(piece, state)
        pieces.append(out)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, atol=0, rtol=0)
    lengths = [7, 0, 20, 1]
    packed = torch.cat([rows[i % 3, :n] for i, n in enumerate(lengths)])
    apart = torch.cat([model(rows[i % 3 : i % 3 + 1, :n])[0] for i, n in enumerate(lengths) if n])
    torch.testing.assert_close(model(packed, Layout.ragged(lengths)), apart, atol=0, rtol=0)
    changed = rows.clone()
    changed[:, 10:] = 0
    torch.testing.assert_close(model(changed)[:, :10], whole[:, :10], atol=0, rtol=0)


def test_limits():
    with pytest.raises(VariorumError, match="Lower the order"):
        NGram.fit(torch.arange(10), vocab=50_000, order=5)
    with pytest.raises(VariorumError, match="found 0 tokens"):
        NGram.fit(torch.zeros(0, dtype=torch.int64), vocab=5)
    with pytest.raises(VariorumError, match="as many contexts as entries"):
        NGram(5, contexts=(1,), entries=())
