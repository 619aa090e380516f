"""The documentation page of a paper, made from its executable specification: nothing is written twice."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from types import ModuleType

from variorum.core.errors import VariorumError, nearest
from variorum.explain.formal import (
    architectures,
    attention,
    embedding,
    gradient,
    inference,
    masks,
    nonlinearities,
    normalization,
    training,
    turner,
    turner_ends,
    turner_incremental,
)
from variorum.explain.formal.formula import Formula
from variorum.explain.formal.shapes import lines

PAPERS: dict[str, tuple[str, tuple[ModuleType, ...]]] = {
    "formal-algorithms-transformers": (
        "Formal Algorithms for Transformers (Phuong and Hutter 2022, arXiv:2207.09238)",
        (embedding, attention, normalization, architectures, training, inference, nonlinearities, masks, gradient),
    ),
    "turner-introduction": (
        "An Introduction to Transformers (Turner 2023, arXiv:2304.10557)",
        (turner, turner_ends, turner_incremental, nonlinearities, masks),
    ),
}
"""The papers that are executable specifications, by their name in the catalogue: title and modules."""

ROLE = re.compile(r":\w+:`~?(?:\w+\.)*(\w+)`")
"""A cross-reference of a docstring, of which the page shows the last name."""

ABOUT = """
Every section is generated from the function that executes it, in float64 numpy, loop by loop. These functions are the
oracles that the library's fast parts are tested against. A vector is a column, a sequence of vectors the columns of a
matrix. The formulas count tokens and positions from 1, the sources from 0. The shapes are those of the signature; every
call is held to them.
""".strip()


def formulas(name: str) -> dict[str, Formula]:
    """The formulas of a paper by id: numbered algorithms by number, others in the order of the source.

    An unknown paper, or an id used twice, raises :class:`~variorum.core.errors.VariorumError`.
    """
    if name not in PAPERS:
        raise VariorumError("paper", expected="one with an executable specification", found=repr(name),
                            do=nearest(name, PAPERS))  # fmt: skip
    found: dict[str, Formula] = {}
    for formula in sorted(_declared(name), key=_number):
        if formula.id in found:
            both = f"{found[formula.id].__name__} and {formula.__name__}"
            raise VariorumError(f"formula id {formula.id!r} of {name}", expected="an id used once", found=both,
                                do="Rename one of them.")  # fmt: skip
        found[formula.id] = formula
    return found


def page(name: str) -> str:
    """The Markdown page of a paper: for every formula its anchor, its equation, its shapes and its source."""
    chosen = formulas(name)
    title, _ = PAPERS[name]
    contents = "\n".join(f"- [{formula.title}](#{id})" for id, formula in chosen.items())
    sections = "\n\n".join(_section(formula) for formula in chosen.values())
    return f"# {title}\n\n{ABOUT}\n\n{contents}\n\n{sections}\n\n{_helpers(name)}\n"


def _declared(name: str) -> Iterator[Formula]:
    for module in PAPERS[name][1]:
        for value in vars(module).values():
            if isinstance(value, Formula) and value.function.__module__ == module.__name__:
                yield value


def _number(formula: Formula) -> int:
    number = formula.id.removeprefix("algorithm-")
    return int(number) if number.isdigit() else 0


def _helpers(name: str) -> str:
    """The plain functions that the sources above call."""
    functions = [
        value
        for module in PAPERS[name][1]
        for value in vars(module).values()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    ]
    sources = "\n\n\n".join(inspect.getsource(function).rstrip() for function in functions)
    return f"## Helpers\n\n```python\n{sources}\n```"


def _section(formula: Formula) -> str:
    rows = [row for name, shape in formula.takes.items() for row in lines(name, shape=shape)]
    rows += lines("result", shape=formula.gives)
    table = "\n".join(f"| `{path}` | `{lies_in}` |" for path, lies_in in rows)
    return "\n\n".join([
        f'<a id="{formula.id}"></a>\n\n## {formula.title}',
        ROLE.sub(r"`\1`", inspect.cleandoc(formula.function.__doc__ or "")),
        f"| symbol | lies in |\n|---|---|\n{table}",
        f"```python\n{_source(formula)}\n```",
    ])  # fmt: skip


def _source(formula: Formula) -> str:
    """The source of the function without its docstring, which stands above it on the page."""
    source = textwrap.dedent(inspect.getsource(formula.function))
    docstring = ast.parse(source).body[0].body[0]
    kept = source.splitlines()
    del kept[docstring.lineno - 1 : docstring.end_lineno]
    return "\n".join(kept)
