"""The register of checks: which test meets which requirement of which row, read from source and from runs."""

import ast
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent
REGISTER = TESTS.parent / "src" / "variorum" / "core" / "edition" / "checked.json"


@dataclass(frozen=True)
class Mark:
    """A test function that is marked ``row(slug, index)``."""

    test: str
    slug: str
    index: int


def marks(folder: Path = TESTS) -> list[Mark]:
    """All marks in the source of the tests, without importing them."""
    return [mark for path in sorted(folder.rglob("test_*.py")) for mark in _marks(path, folder)]


def tests(folder: Path = TESTS) -> set[str]:
    """The ids of all test functions, without parameters: ``tests/systems/test_cct.py::test_size``."""
    return {test for path in sorted(folder.rglob("test_*.py")) for test, _ in _functions(path, folder)}


def _functions(path: Path, folder: Path) -> Iterator[tuple[str, ast.FunctionDef]]:
    tree = ast.parse(path.read_text("utf-8"), str(path))
    file = f"{folder.name}/{path.relative_to(folder).as_posix()}"
    for node in tree.body:
        owner = [node] if isinstance(node, ast.FunctionDef) else node.body if isinstance(node, ast.ClassDef) else []
        for inner in owner:
            if isinstance(inner, ast.FunctionDef) and inner.name.startswith("test"):
                where = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
                yield f"{file}::{where}{inner.name}", inner


def _marks(path: Path, folder: Path) -> Iterator[Mark]:
    tree = ast.parse(path.read_text("utf-8"), str(path))
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for test, function in _functions(path, folder):
        for decorator in function.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.row":
                slug, index = (_value(argument, constants, test) for argument in decorator.args)
                yield Mark(test, slug, index)


def _value(argument: ast.expr, constants: dict[str, Any], test: str) -> Any:
    if isinstance(argument, ast.Constant):
        return argument.value
    if isinstance(argument, ast.Name) and argument.id in constants:
        return constants[argument.id]
    raise ValueError(f"{test}: a row mark takes a slug and an index written out, or a constant of the module")


@dataclass(frozen=True)
class Seen:
    """What a run saw of one case of a test. says: the first line of its docstring."""

    test: str
    outcome: str
    says: str
    rows: tuple[tuple[str, int], ...]


def merged(
    before: dict[str, list[dict[str, Any]]], seen: Iterable[Seen], *, date: str, exist: set[str]
) -> dict[str, Any]:
    """The register after a run: tests all of whose cases passed are in it, those with a failure are not.

    A test that was skipped or not run stays as it was; one that no longer exists goes.
    """
    cases: dict[str, list[Seen]] = {}
    for case in seen:
        cases.setdefault(case.test, []).append(case)
    ran = {test for test, found in cases.items() if any(case.outcome != "skipped" for case in found)}
    passed = {test for test in ran if {case.outcome for case in cases[test]} <= {"passed", "skipped"}}
    after = {
        slug: [c for c in checks if c["test"] in exist and c["test"] not in ran] for slug, checks in before.items()
    }
    for test in passed:
        by_slug: dict[str, set[int]] = {}
        for slug, index in (row for case in cases[test] for row in case.rows):
            by_slug.setdefault(slug, set()).add(index)
        for slug, meets in by_slug.items():
            entry = {"test": test, "says": cases[test][0].says, "meets": sorted(meets), "date": date}
            after.setdefault(slug, []).append(entry)
    return {
        slug: sorted(checks, key=lambda c: (c["meets"], c["test"])) for slug, checks in sorted(after.items()) if checks
    }


def write(register: dict[str, Any], path: Path) -> None:
    """Write the register as it is kept in the repository."""
    path.write_text(json.dumps(register, indent=1, ensure_ascii=False) + "\n", "utf-8")
