"""The bag of tokens is what scikit-learn fits; word by word is what its equation says."""

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from variorum.core import Layout, VariorumError
from variorum.models.bag_of_tokens import BagOfTokens, ngrams
from variorum.models.ngram import NGram
from variorum.models.word_by_word import WordByWord, lexicon

VOCAB = 11


def rows(count: int, seed: int) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.integers(VOCAB, size=n) for n in draw.integers(1, 12, size=count)]


def packed(texts: list[np.ndarray]) -> tuple[torch.Tensor, Layout]:
    return torch.from_numpy(np.concatenate(texts)), Layout.ragged([len(text) for text in texts])


def names(text: np.ndarray) -> list[str]:
    """A text as the words of its single tokens and pairs, in the order of their keys."""
    ids, layout = packed([text])
    return [f"{int(key):09d}" for key in ngrams(ids, layout.row_of, vocab=VOCAB, order=2)[1]]


@pytest.mark.parametrize("classes", [2, 4])
def test_the_logits_are_those_of_scikit_learn(classes):
    texts, new = rows(80, 0), rows(30, 1)
    labels = np.array([text.sum() % classes for text in texts])
    vectors = TfidfVectorizer(analyzer=names, sublinear_tf=True, min_df=2).fit(texts)
    fitted = LogisticRegression(C=10, max_iter=500).fit(vectors.transform(texts), labels)
    keys = np.array([int(name) for name in vectors.get_feature_names_out()])
    model = BagOfTokens.from_sklearn(keys, vectors._tfidf, fitted, vocab=VOCAB, order=2)
    ids, layout = packed(new)
    found = model(ids, layout)
    wanted = fitted.decision_function(vectors.transform(new))
    found = (found[:, 1] - found[:, 0]) if classes == 2 else found
    np.testing.assert_allclose(found.detach().numpy(), wanted, atol=2e-5)
    assert (model(ids, layout).argmax(1).numpy() == fitted.predict(vectors.transform(new))).all()


def test_a_row_of_unknown_tokens_gets_the_bias():
    model = BagOfTokens.spec(vocab=VOCAB, order=1, features=3, classes=2).build()
    answers = model(torch.tensor([[9, 10], [1, 1]]))
    assert answers[0].equal(model.bias) and not answers[1].equal(model.bias)


def test_pairs_stay_within_rows_and_keys_are_different():
    ids, layout = packed([np.array([1, 2]), np.array([3])])
    of, keys = ngrams(ids, layout.row_of, vocab=VOCAB, order=2)
    assert of.tolist() == [0, 0, 1, 0] and len(set(keys.tolist())) == 4
    everything = torch.cartesian_prod(torch.arange(VOCAB), torch.arange(VOCAB)).flatten()
    row = torch.arange(VOCAB**2).repeat_interleave(2)
    assert len(ngrams(everything, row, vocab=VOCAB, order=2)[1].unique()) == VOCAB + VOCAB**2


def test_one_word_for_another_is_learned():
    sources = rows(400, 0)
    targets = [(text[::-1] + 3) % VOCAB for text in sources]
    keys, chances = lexicon(sources, targets, VOCAB, rounds=12)
    best = {int(key) // VOCAB: int(key) % VOCAB for key in keys[np.lexsort((chances, keys // VOCAB))]}
    assert best == {x: (x + 3) % VOCAB for x in range(VOCAB)}
    np.testing.assert_allclose(np.bincount(keys // VOCAB, chances), 1.0)


def fitted(share: float) -> WordByWord:
    sources = rows(60, 0)
    targets = [np.append(0, (text + 3) % VOCAB) for text in sources]
    ngram = NGram.fit([torch.from_numpy(t) for t in targets], vocab=VOCAB, order=2)
    return WordByWord.fit(sources, targets, ngram, share=share)


def test_its_answer_is_the_equation():
    model, source, target = fitted(0.3), torch.tensor([[1, 4, 4]]), torch.tensor([[0, 5]])
    table = torch.zeros(VOCAB, VOCAB, dtype=model.chances.dtype)
    for x in range(VOCAB):
        span = slice(int(model.offsets[x]), int(model.offsets[x + 1]))
        table[x, model.tokens[span]] = model.chances[span]
    wanted = 0.3 * (table[1] + 2 * table[4]) / 3 + 0.7 * model.ngram(target)[0].exp()
    torch.testing.assert_close(model(source, target)[0].exp(), wanted)
    torch.testing.assert_close(model(source, target).exp().sum(-1), torch.ones(1, 2))


def test_a_source_that_says_nothing_leaves_the_ngrams():
    model = fitted(0.3)
    model.offsets.zero_()
    target = torch.tensor([[0, 5, 2]])
    torch.testing.assert_close(model(torch.tensor([[1]]), target), model.ngram(target))


def test_shares_are_shares():
    with pytest.raises(VariorumError, match="share"):
        WordByWord.spec(vocab=4, entries=1, share=1.0, ngram=NGram.spec(contexts=(), entries=())).build()
