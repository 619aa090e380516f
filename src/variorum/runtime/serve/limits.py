"""What clients of a server may take."""

from dataclasses import dataclass, fields

from variorum.core import VariorumError


@dataclass(frozen=True)
class Limits:
    """Bounds of a server; every one of them is a number above 0.

    body, bodies: bytes of one request, and of all that are being read.    rows: of one request.
    cells: rows times columns of the table that a request is, for few bytes may name many; values in its JSON.
    columns: of that table.
    pixels, all_pixels: of one image, and of all images of one request, before they are made smaller.
    scores: tokens times vocabulary of the texts of one request that a language model is to judge.
    texts: that one request may have written.
    waiting: requests that a bundle has accepted and not answered; the next one is told to come later (429).
    slots: texts that are written side by side.    batch_rows, batch_tokens: that go through a model at a time.
    cache: bytes of what a bundle's texts that are being written keep of their tokens; who finds no room waits.
    seconds: until a request must be answered.    slow: seconds within which its head, and its body, must arrive.
    connections: open at a time.
    """

    body: int = 32 << 20
    bodies: int = 256 << 20
    rows: int = 4096
    cells: int = 8_000_000
    columns: int = 1 << 15
    pixels: int = 40_000_000
    all_pixels: int = 400_000_000
    scores: int = 1 << 26
    texts: int = 64
    waiting: int = 256
    slots: int = 32
    batch_rows: int = 256
    batch_tokens: int = 16384
    cache: int = 4 << 30
    seconds: float = 120.0
    slow: float = 20.0
    connections: int = 2048

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                found = str(getattr(self, field.name))
                raise VariorumError(
                    f"Limits {field.name}", expected="a number above 0", found=found, do="Leave it out for the default."
                )
