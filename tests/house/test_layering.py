"""An import runs only downward in the list of rooms."""

import sys
from pathlib import Path

from house.source import PACKAGE, files, imports, name, room

ROOMS = ("core", "layers", "models", "objectives", "data", "programs", "train", "compress", "adapt", "explain",
         "runtime", "systems", "compare", "claims", "testing", "cli", "web")  # fmt: skip
"""From the ground up; a room may import those before it. ``testing`` may import any that does not call it."""

CORE_MAY_IMPORT = {"torch", "variorum"} | set(sys.stdlib_module_names)


def test_every_folder_is_a_room() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert folders <= set(ROOMS), f"{folders - set(ROOMS)} stand on no floor"


def test_every_room_says_what_lives_there() -> None:
    silent = [name(p) for p in files() if p.name == "__init__.py" and not p.read_text("utf-8").startswith('"""')]
    assert not silent


def test_imports_run_downward() -> None:
    found = [fault for path in files() if room(path) for fault in upward(path)]
    assert not found, "\n".join(found)


def upward(path: Path) -> list[str]:
    """Imports of a room that is not below the file's own."""
    here, found = room(path), []
    for line, imported in imports(path):
        there = imported.split(".")[1] if imported.startswith("variorum.") else None
        if there in ROOMS and ROOMS.index(there) > ROOMS.index(here):
            found.append(f"{name(path)}:{line} is in {here} and imports {imported}, which is above")
    return sorted(set(found))


def test_core_imports_torch_and_nothing_of_ours() -> None:
    found = []
    for path in files():
        for line, imported in imports(path) if room(path) == "core" else ():
            top, *rest = imported.split(".")
            if top not in CORE_MAY_IMPORT or (top == "variorum" and rest[:1] != ["core"]):
                found.append(f"{name(path)}:{line} imports {imported}")
    assert not found, "\n".join(found)


def test_the_package_itself_imports_nothing() -> None:
    """``import variorum`` is quick because what it exports is looked up when it is asked for."""
    outside = {imported.split(".")[0] for _, imported in imports(PACKAGE / "__init__.py")}
    assert outside <= {"variorum", *sys.stdlib_module_names}
