"""Whole numbers in digits and in English words, made by rule."""

from typing import Any, ClassVar

import numpy as np

from variorum.data.sets.bundled import Bundled

SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ROWS, LARGEST = 6000, 10**6


class SpokenNumbersSet(Bundled):
    """How is a number said?"""

    name, reads = "spoken_numbers", "text pairs"
    says = "6,000 whole numbers below a million, small ones as often as large ones, in digits and in English words."
    synthetic = True
    asks: ClassVar[dict[str, Any]] = {"target": "words"}

    def read(self) -> Any:
        import pandas as pd

        draw = np.random.default_rng(0).random(4 * ROWS)
        different = np.unique((LARGEST**draw).astype(np.int64))
        chosen = np.random.default_rng(1).permutation(different)[:ROWS].tolist()
        return pd.DataFrame({"digits": pd.Series([str(n) for n in chosen], dtype=object),
                             "words": pd.Series([in_words(n) for n in chosen], dtype=object)})  # fmt: skip


def in_words(n: int) -> str:
    """A whole number from 0 to 999,999 as it is said."""
    if n < 20:
        return SMALL[n]
    if n < 100:
        return TENS[n // 10] + (f"-{SMALL[n % 10]}" if n % 10 else "")
    if n < 1000:
        return f"{SMALL[n // 100]} hundred" + (f" and {in_words(n % 100)}" if n % 100 else "")
    rest = n % 1000
    return f"{in_words(n // 1000)} thousand" + (
        "" if not rest else f" and {in_words(rest)}" if rest < 100 else f" {in_words(rest)}"
    )
