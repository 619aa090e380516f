"""Files by class: a folder with a sub-folder for each class, or such folders for train and test."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from variorum.core import VariorumError
from variorum.data.decode import encodes

SPLITS = {
    "train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip
"""What folders of the parts of a published split are called."""


class ByClass(NamedTuple):
    """Files, the class of each by its number, and the names of the classes.

    parts: train, valid or test of each file, if folders tell; None: nobody has split them.     notes: what to say.
    """

    files: list[Path]
    classes: list[int]
    names: tuple[str, ...]
    parts: list[str] | None
    notes: tuple[str, ...]


def by_class(folder: Path, suffixes: Collection[str], what: str) -> ByClass:
    """The files of a folder by class, those to train on first; :class:`VariorumError` if they are not sorted so.

    what: the files' name, such as ``images``.
    """
    names = tuple(sub.name for sub in check_classes(folder, suffixes, what))
    given = given_parts(folder, suffixes)
    empty = _without(folder if not given else given["train"], suffixes)
    notes = [f"Folders without {what} are no classes: {', '.join(map(repr, empty[:6]))}."] if empty else []
    rows = [(path, code, part) for part, place in (given or {"train": folder}).items() for code, name in
            enumerate(names) for path in files_in(place / name, suffixes)]  # fmt: skip
    if given:
        counts = {part: sum(row[2] == part for row in rows) for part in given}
        told = ", ".join(f"{place.name}/ ({counts[part]}) is to {_DOES[part]}" for part, place in given.items())
        rest = "" if "valid" in given else "; a quarter of the training part is to choose on"
        notes.append(f"The split of the folders is kept: {told}{rest}.")
    parts = [part for _, _, part in rows] if given else None
    return ByClass([path for path, _, _ in rows], [code for _, code, _ in rows], names, parts, tuple(notes))


def files_in(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Files with one of these suffixes, in the order of their names; hidden files are passed over."""
    return sorted(f for f in _inside(folder) if f.suffix.lower() in suffixes and f.is_file())


def class_folders(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Sub-folders that hold such files, in the order of their names."""
    return sorted(sub for sub in _inside(folder) if sub.is_dir() and files_in(sub, suffixes))


def given_parts(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """The folders of the parts of a published split, training first; none unless there is one to train on and another.

    Where there is none to test on, that to choose on is.
    """
    found: dict[str, Path] = {}
    for sub in sorted(_inside(folder)):
        if sub.name.lower() in SPLITS and sub.is_dir() and class_folders(sub, suffixes):
            part = SPLITS[sub.name.lower()]
            if part in found:
                raise VariorumError(shown(folder), expected=f"one folder to {_DOES[part]}",
                                    found=f"{found[part].name!r} and {sub.name!r}", do="Remove one.")  # fmt: skip
            found[part] = sub
    if "train" not in found or len(found) < 2:
        return {}
    if "test" not in found:
        found["test"] = found.pop("valid")
    return {part: found[part] for part in _DOES if part in found}


def check_classes(folder: Path, suffixes: Collection[str], what: str) -> list[Path]:
    """The class folders, at least two; otherwise :class:`VariorumError`. what: the files' name, such as ``images``.

    Of a published split they are those to train on, and the other parts must have the same.
    """
    if not folder.is_dir():
        raise VariorumError(shown(folder), expected=f"a folder with a sub-folder of {what} for each class",
                            found="a file" if folder.is_file() else "nothing of this name",
                            do="Give the folder that holds the class folders.")  # fmt: skip
    given = given_parts(folder, suffixes)
    classes = class_folders(given["train"] if given else folder, suffixes)
    for place in given.values():
        _check_same(place, classes, class_folders(place, suffixes))
    if strange := [sub.name for sub in classes if not encodes(sub.name)]:
        raise VariorumError(shown(folder), expected="names of classes in UTF-8", found=shown(strange[0]),
                            do="Rename the folder.")  # fmt: skip
    if len(classes) > 1 and all(sub.name.lower() in SPLITS for sub in classes):
        raise VariorumError(shown(folder), expected="a sub-folder for each class",
                            found=f"parts of a split, without classes: {', '.join(sub.name for sub in classes)}",
                            do=f"Sort the {what} of each part into one folder a class: train/cats/, ...")  # fmt: skip
    if len(classes) > 1:
        return classes
    loose = len(files_in(folder, suffixes))
    found = (
        f"one class folder, {classes[0].name!r}"
        if classes
        else f"{loose} {what} beside one another"
        if loose
        else "none"
    )
    raise VariorumError(shown(folder), expected=f"at least two sub-folders of {what}, one for each class", found=found,
                        do=f"Sort the {what} into one folder a class: cats/, dogs/, ...")  # fmt: skip


def given_files(path: Path, suffixes: Collection[str], *, one: str, what: str) -> list[Path]:
    """The file itself, or those in a folder, by class or not; :class:`VariorumError` if there is none.

    one, what: what is asked for, such as ``an image``, and many of them, ``images``.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise VariorumError(shown(path), expected=f"{one} or a folder of {what}", found="nothing of this name",
                            do="Check the path.")  # fmt: skip
    places = [path, *given_parts(path, suffixes).values()]
    folders = [sub for place in places for sub in (place, *class_folders(place, suffixes))]
    found = [file for sub in dict.fromkeys(folders) for file in files_in(sub, suffixes)]
    if not found:
        raise VariorumError(shown(path), expected=f"{what} in the folder", found="none",
                            do=f"Give a folder that holds {what} ({', '.join(sorted(suffixes))}).")  # fmt: skip
    return found


def holds(folder: Path, suffixes: Collection[str]) -> bool:
    """Does it hold such files, by class or not?"""
    return folder.is_dir() and bool(
        files_in(folder, suffixes) or class_folders(folder, suffixes) or given_parts(folder, suffixes)
    )


def shown(path: str | Path) -> str:
    """A path as text that can be written and stands on one line, whatever bytes its names are made of."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))


_DOES = {"train": "train on", "valid": "choose on", "test": "test on"}


def _inside(folder: Path) -> Iterable[Path]:
    """What is in a folder and not hidden; :class:`VariorumError` if it cannot be looked into."""
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise VariorumError(shown(folder), expected="a folder that can be read", found=error.strerror or str(error),
                            do="Check the path and its permissions.") from None  # fmt: skip


def _without(folder: Path, suffixes: Collection[str]) -> list[str]:
    return sorted(shown(sub.name) for sub in _inside(folder) if sub.is_dir() and not files_in(sub, suffixes))


def _check_same(place: Path, wanted: list[Path], found: list[Path]) -> None:
    """Both parts of a split must have the same classes."""
    ours, theirs = {sub.name for sub in wanted}, {sub.name for sub in found}
    if ours != theirs:
        more = [f"{name!r} in {'train' if name in ours else place.name} alone" for name in sorted(ours ^ theirs)]
        raise VariorumError(shown(place), expected="the same classes as in the folder to train on",
                            found=", ".join(more[:6]), do="Add the missing class, or move the folder.")  # fmt: skip
