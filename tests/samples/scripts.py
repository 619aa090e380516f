"""Text in many scripts at once, drawn by a seed: words by Zipf's law, and between them what is hard for tokenizers."""

import random

RANGES = {
    "latin": (0x61, 0x7A),
    "accents": (0xE0, 0xFF),
    "greek": (0x3B1, 0x3C9),
    "cyrillic": (0x430, 0x44F),
    "hebrew": (0x5D0, 0x5EA),
    "arabic": (0x627, 0x64A),
    "devanagari": (0x905, 0x939),
    "thai": (0xE01, 0xE2E),
    "hangul": (0xAC00, 0xAE00),
    "hiragana": (0x3041, 0x3096),
    "han": (0x4E00, 0x4F00),
    "emoji": (0x1F600, 0x1F64F),
}
ODD = (
    "3.14159",
    "don't",
    "e\u0301te\u0301",
    "👩\u200d🚀",
    "\u200f",
    "a\u00a0b",
    "\ufeff",
    "\u2028",
    "x\ty",
    "…",
    "½",
    "İ",
    "ß",
    "[MASK]",
)


def lines(count: int, *, seed: int = 0) -> list[str]:
    """``count`` lines of one to twenty words; spaces may be doubled, lead or trail."""
    draw = random.Random(seed)
    words = {name: [_word(draw, *ends) for _ in range(200)] for name, ends in RANGES.items()}
    weights = [1 / rank for rank in range(1, 201)]
    made = []
    for _ in range(count):
        scripts = draw.sample(sorted(words), 3)
        chosen = [draw.choices(words[draw.choice(scripts)], weights)[0] for _ in range(draw.randint(1, 20))]
        chosen = [draw.choice(ODD) if draw.random() < 0.05 else word for word in chosen]
        chosen = [word.capitalize() if draw.random() < 0.2 else word for word in chosen]
        made.append(
            draw.choice(["", "", " "])
            + draw.choice([" ", " ", ", ", "  "]).join(chosen)
            + draw.choice([".", " ", "\n"])
        )
    return made


def _word(draw: random.Random, first: int, last: int) -> str:
    return "".join(chr(draw.randint(first, last)) for _ in range(draw.randint(1, 8)))
