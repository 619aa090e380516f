"""Texts short enough to be read at a glance."""

LETTERS = 300


def cut(text: str) -> str:
    """The first letters of a text, at most 300."""
    text = text.strip()
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"
