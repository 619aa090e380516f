"""What each system costs the house: lines of its own, parts it shares, lines of shared files that know its name."""

import inspect
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import chain
from pathlib import Path

import torch

from variorum.compare.describe import ASSUMED
from variorum.compare.plain import PLAIN
from variorum.core import Entry, Part, Registered, Spec, entries, find

MOST_LINES = 150
NOT_SHARED = ("systems", "claims", "explain/formal")
"""Folders whose files may be about one system."""


@dataclass(frozen=True)
class Share:
    """lines: of its file.     shared: parts that other systems use too.     own: parts that only it uses so far, with
    their lines.     elsewhere: lines of shared files that name it.
    """

    slug: str
    lines: int
    shared: tuple[str, ...]
    own: Mapping[str, int]
    elsewhere: int


def shares() -> list[Share]:
    """One for each system that is bound, by name."""
    used = {slug: parts_of(entry) for slug, entry in entries().items()}
    users = Counter(part for parts in used.values() for part in parts)
    return [
        Share(
            slug=slug,
            lines=entry.lines,
            shared=tuple(sorted(part for part in used[slug] if users[part] > 1)),
            own={part: _lines(part) for part in sorted(used[slug]) if users[part] == 1},
            elsewhere=len(naming(slug)),
        )
        for slug, entry in entries().items()
    ]


def parts_of(entry: Entry) -> set[str]:
    """Names of the registered classes that a system's models are made of, in all its sizes and for all kinds of data.

    Parts that parts make for themselves are counted too.
    """
    forms = [*entry.sizes.values(), *chain.from_iterable(entry.fits.values())]
    found: set[str] = set()
    for arguments in forms:
        spec = entry.function(**arguments)
        if isinstance(spec, Spec):
            found |= {inner.part for _, inner in spec.walk()} | _built(spec)
    return found


def _built(spec: Spec[Registered]) -> set[str]:
    with torch.device("meta"):
        model = spec.fill(**ASSUMED).build()
    return {type(m).__name__ for m in model.modules() if isinstance(m, Part)} if isinstance(model, Part) else set()


def naming(slug: str) -> list[str]:
    """``file:line`` of every line of a shared file that names a system; the plain Transformer may be named once."""
    name = re.compile(rf"""["'`.]({re.escape(slug)}|{re.escape(slug.replace("-", "_"))})["'`. ]""")
    found = [f"{file}:{number}" for file, text in _shared_files().items()
             for number, line in enumerate(text.splitlines(), 1) if name.search(line)]  # fmt: skip
    return found[1:] if slug == PLAIN else found


@cache
def _shared_files() -> dict[str, str]:
    root = Path(import_module("variorum").__path__[0])
    files = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*.py"))}
    return {name: path.read_text("utf-8") for name, path in files.items() if not name.startswith(NOT_SHARED)}


def _lines(part: str) -> int:
    module = inspect.getmodule(find(part))
    return len(inspect.getsource(module).splitlines()) if module else 0


def table(found: list[Share]) -> str:
    """The shares as a Markdown table."""
    lines = ["| system | lines of its file | parts it shares | parts only it uses so far (lines) | lines elsewhere |",
             "|---|---:|---:|---|---:|"]  # fmt: skip
    for share in found:
        own = ", ".join(f"{part} ({count})" for part, count in share.own.items()) or "none"
        lines.append(f"| {share.slug} | {share.lines} | {len(share.shared)} | {own} | {share.elsewhere} |")
    return "\n".join(lines)
