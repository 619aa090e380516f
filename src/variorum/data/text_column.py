"""A column of free text inside a table, as a few numbers."""

import re
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.core import Spec
from variorum.data.columns import Column, moments, standardise

if TYPE_CHECKING:
    import pandas as pd

MOST_TERMS, MOST_NUMBERS = 400, 16
FEWEST_ROWS = 3
"""A term is known if it is in at least so many training rows, and not in all of them."""
ROWS_A_NUMBER = 20
"""Training rows for each number that comes out, so that a short table does not drown in them."""
LETTERS = 10_000
"""Of a cell that are looked at."""
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Letters of writing that puts no spaces between words."""


class Term(StrEnum):
    """What a text is counted by."""

    WORD = "word"
    LETTERS = "letters"


class TextColumn(Column):
    """z = (C' u / |u| - mean) / scale, u_i = f_i (1 + log((1 + N) / (1 + n_i))): latent semantic analysis.

    f_i: how often term i is in the text, n_i: in how many of the N training rows it is. C: the main directions of u/|u|
    over the training rows, its first right singular vectors. Deerwester et al. 1990, "Indexing by latent
    semantic analysis"; weights: Spärck Jones 1972. A text without a known term has u = 0; a missing one is NaN.

    terms: words, or one to three letters in a row where words are not spaced.     directions: C', a row a number.
    """

    examples = (
        {
            "name": "remark",
            "term": Term.WORD,
            "terms": ("late", "broken"),
            "weights": (0.5, 1.5),
            "directions": ((0.6, 0.8),),
            "mean": (0.1,),
            "scale": (0.5,),
        },
    )

    def __init__(
        self,
        name: str,
        *,
        term: Term,
        terms: tuple[str, ...],
        weights: tuple[float, ...],
        directions: tuple[tuple[float, ...], ...],
        mean: tuple[float, ...],
        scale: tuple[float, ...],
    ) -> None:
        self.name, self.term, self.terms = name, term, terms
        self.weights = np.array(weights)
        self.directions = np.array(directions)
        self.mean, self.scale = mean, scale

    @classmethod
    def fit(cls, values: "pd.Series") -> Spec["TextColumn"] | None:
        """The commonest terms and the main directions of training rows; None without two terms to tell apart."""
        texts = _texts(values.dropna())
        term = Term.LETTERS if _unspaced(texts) else Term.WORD
        terms, counts = _common(texts, term)
        if len(terms) < 2:
            return None
        present = np.asarray((counts > 0).sum(axis=0)).ravel()
        weights = _rounded(np.log((1 + len(texts)) / (1 + present)) + 1)
        weighed = _weighed(counts, weights)
        # Right singular vectors from the square of the matrix, which is small: exact, and the same every time.
        strength, vectors = np.linalg.eigh((weighed.T @ weighed).toarray())
        wanted = min(MOST_NUMBERS, len(terms), max(2, len(texts) // ROWS_A_NUMBER))
        order = [i for i in np.argsort(-strength, kind="stable")[:wanted] if strength[i] > 1e-9 * strength.max()]
        main = vectors[:, order].T
        main = main * np.sign(main[np.arange(len(main)), np.abs(main).argmax(axis=1)])[:, None]
        directions = _rounded(main)
        mean, scale = zip(*(moments(number) for number in (weighed @ directions.T).T), strict=True)
        return cls.spec(
            name=str(values.name), term=term, terms=tuple(terms), weights=tuple(weights.tolist()),
            directions=tuple(map(tuple, directions.tolist())), mean=mean, scale=scale,
        )  # fmt: skip

    @property
    def cardinalities(self) -> tuple[int, ...]:
        return (0,) * len(self.directions)

    def encode(self, values: "pd.Series") -> np.ndarray:
        out = np.full((len(values), len(self.directions)), np.nan, np.float32)
        known = values.notna().to_numpy(bool)
        if known.any():
            weighed = _weighed(self._counter.transform(_texts(values[known])), self.weights)
            made = (weighed @ self.directions.T).T
            out[known] = np.stack([standardise(*of) for of in zip(made, self.mean, self.scale, strict=True)], axis=1)
        return out

    def strange(self, values: "pd.Series") -> list[str]:
        return []  # a text without a known word is a text

    def said(self, encoded: np.ndarray) -> list[str | None]:
        return [None] * len(encoded)  # the directions of a text do not tell its words

    @cached_property
    def _counter(self) -> Any:
        from sklearn.feature_extraction.text import CountVectorizer

        return CountVectorizer(vocabulary=list(self.terms), **_manner(self.term))


def _manner(term: Term) -> dict[str, Any]:
    """How scikit-learn cuts a text into terms."""
    if term is Term.WORD:
        return {"token_pattern": r"\w+"}
    return {"analyzer": "char_wb", "ngram_range": (1, 3)}


def _common(texts: list[str], term: Term) -> tuple[list[str], Any]:
    """The terms in most rows, by alphabet, and how often each is in each text, (rows, terms) sparse."""
    from sklearn.feature_extraction.text import CountVectorizer

    if not any(re.search(r"\w", text) for text in texts):
        return [], None
    counter = CountVectorizer(**_manner(term))
    counts = counter.fit_transform(texts)
    rows = np.asarray((counts > 0).sum(axis=0)).ravel()
    names = counter.get_feature_names_out()
    fit = np.flatnonzero((rows >= FEWEST_ROWS) & (rows < len(texts)))
    chosen = np.sort(fit[np.argsort(-rows[fit], kind="stable")][:MOST_TERMS])
    return names[chosen].tolist(), counts[:, chosen]


def _weighed(counts: Any, weights: np.ndarray) -> Any:
    """Rows of term counts, weighed and made of length 1; rows without a term stay 0."""
    from sklearn.preprocessing import normalize

    return normalize(counts.multiply(weights[None]).tocsr().astype(np.float64))


def _texts(values: "pd.Series") -> list[str]:
    return [str(value)[:LETTERS] for value in values]


def _unspaced(texts: list[str]) -> bool:
    """Are most of the texts in writing that puts no spaces between words?"""
    return sum(bool(UNSPACED.search(text)) for text in texts) > 0.5 * len(texts)


def _rounded(values: np.ndarray) -> np.ndarray:
    """To six digits: a model file stays short, and holds exactly what was fitted."""
    return np.array([float(f"{value:.6g}") for value in values.ravel()]).reshape(values.shape)
