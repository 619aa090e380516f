"""The manner of the house, as far as a machine can see it."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from house.source import PACKAGE, files, functions, imports, name, room, tree
from variorum.core import Registered, registered

LONGEST_FILE, LONGEST_SYSTEM, LONGEST_FUNCTION = 600, 150, 60

RUNS_WHAT_IT_READS = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
READERS_OF_PICKLES = {"torch.load", "torch.save", "pd.read_pickle", "pandas.read_pickle"}

NEVER_SAID = {
    r"\bhasattr\(": "no probing: ask traits",
    r"\bTODO\b|\bFIXME\b|\bXXX\b": "finish it",
    r"^\s*except:": "no silent except",
    r"(?<![\w.:/])/(?:work|tmp|home|root|Users)/": "no path of a machine",
}
"""What no line may say, and why."""


def test_files_are_short() -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in files()}
    limits = {path: LONGEST_SYSTEM if room(path) == "systems" else LONGEST_FILE for path in files()}
    assert not {name(path): n for path, n in lengths.items() if n > limits[path]}


def test_functions_are_short() -> None:
    lengths = {
        f"{name(p)}:{f.lineno} {f.name}": (f.end_lineno or f.lineno) - f.lineno + 1
        for p in files()
        for f in functions(p)
    }
    assert not {where: n for where, n in lengths.items() if n > LONGEST_FUNCTION}


def test_nothing_is_read_that_could_run() -> None:
    found = [
        f"{name(p)}:{line} imports {i}"
        for p in files()
        for line, i in imports(p)
        if i.split(".")[0] in RUNS_WHAT_IT_READS
    ]
    for path in files():
        for call in (n for n in ast.walk(tree(path)) if isinstance(n, ast.Call)):
            if ast.unparse(call.func) in READERS_OF_PICKLES or any(k.arg == "allow_pickle" for k in call.keywords):
                found.append(f"{name(path)}:{call.lineno} {ast.unparse(call.func)}")
    assert not found, "\n".join(found)


def test_nothing_forbidden_is_said() -> None:
    found = []
    for path in files():
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            found += [
                f"{name(path)}:{number}: {why}: {line.strip()}"
                for said, why in NEVER_SAID.items()
                if re.search(said, line)
            ]
    assert not found, "\n".join(found)


def test_no_fault_is_swallowed() -> None:
    """An ``except`` that does nothing hides what happened; contextlib.suppress names what may happen."""
    found = [f"{name(p)}:{h.lineno}" for p in files() for h in ast.walk(tree(p))
             if isinstance(h, ast.ExceptHandler) and all(isinstance(s, ast.Pass) for s in h.body)]  # fmt: skip
    assert not found


def test_public_names_have_docstrings() -> None:
    """Modules, classes and functions; a method that only carries out what its class states needs none."""
    found = [name(path) for path in files() if not ast.get_docstring(tree(path))]
    for path in files():
        for node in tree(path).body:
            public = isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                found.append(f"{name(path)}:{node.lineno} {node.name}")
    assert not found


def test_true_and_false_are_given_by_keyword() -> None:
    """A call such as ``f(x, True)`` says nothing. (The commands' arguments are Typer's.)"""
    found = []
    for path in files():
        for function in functions(path) if room(path) != "cli" else ():
            named = [*function.args.posonlyargs, *function.args.args]
            pairs = zip(named[len(named) - len(function.args.defaults) :], function.args.defaults, strict=True)
            literal = [a.arg for a, d in pairs if isinstance(d, ast.Constant) and isinstance(d.value, bool)]
            found += [f"{name(path)}:{function.lineno} {function.name}: {argument}" for argument in literal]
    assert not found


def test_no_concrete_method_is_overridden() -> None:
    """Classes are abstract or final, and what an abstract class of ours implements is not implemented again."""
    assert not [fault for cls in registered().values() for fault in overridden(cls)]


def overridden(cls: type[Registered]) -> Iterator[str]:
    """Methods of an abstract class of ours that the class, or one between them, implements again."""
    for depth, base in enumerate(cls.__mro__[1:], 1):
        for method, value in vars(base).items() if base.__module__.startswith("variorum.") else ():
            concrete = inspect.isfunction(value) and not getattr(value, "__isabstractmethod__", False)
            again = [c.__name__ for c in cls.__mro__[:depth] if method in vars(c)]
            if concrete and again and not method.startswith("__"):
                yield f"{', '.join(again)} overrides {base.__name__}.{method}"


def test_constructors_take_what_has_a_default_by_keyword() -> None:
    found = []
    for cls in registered().values():
        for parameter in list(inspect.signature(cls.__init__).parameters.values())[1:]:
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is not parameter.empty:
                found.append(f"{cls.__name__}: {parameter.name}")
    assert not found


def test_every_registered_class_says_what_it_computes() -> None:
    assert not [cls.__name__ for cls in registered().values() if not (cls.__doc__ or "").strip()]


def test_files_of_the_checkout_name_no_machine() -> None:
    """Tests, documents and scripts too; a checkout only, for a wheel has none of them."""
    root, machine = PACKAGE.parent.parent, "/" + "work/"
    folders = [root / folder for folder in ("tests", "docs", "benchmarks", "tools", ".ci")]
    suffixes = {".py", ".md", ".json", ".toml", ".yml", ".txt", ".sh", ""}
    texts = [
        p
        for folder in folders
        for p in folder.rglob("*")
        if p.is_file() and p.suffix in suffixes and "__pycache__" not in p.parts
    ]
    named = [str(path.relative_to(root)) for path in texts if machine in read(path)]
    assert not named


def read(path: Path) -> str:
    """A text file; what is no text says nothing."""
    return path.read_bytes().decode("utf-8", "replace")
