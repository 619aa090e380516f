"""Files by class: a folder with a sub-folder for each class."""

from collections.abc import Collection
from pathlib import Path

from variorum.core import VariorumError


def files_in(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Files with one of these suffixes, in the order of their names; hidden files are passed over."""
    return sorted(
        f for f in folder.iterdir() if f.suffix.lower() in suffixes and not f.name.startswith(".") and f.is_file()
    )


def class_folders(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Sub-folders that hold such files, in the order of their names."""
    return sorted(
        sub for sub in folder.iterdir() if sub.is_dir() and not sub.name.startswith(".") and files_in(sub, suffixes)
    )


def check_classes(folder: Path, suffixes: Collection[str], what: str) -> list[Path]:
    """The class folders, at least two; otherwise :class:`VariorumError`. what: the files' name, such as ``images``."""
    classes = class_folders(folder, suffixes)
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
    raise VariorumError(str(folder), expected=f"at least two sub-folders of {what}, one for each class", found=found,
                        do=f"Sort the {what} into one folder a class: cats/, dogs/, ...")  # fmt: skip


def given_files(path: Path, suffixes: Collection[str], *, one: str, what: str) -> list[Path]:
    """The file itself, or those in a folder, by class or not; :class:`VariorumError` if there is none.

    one, what: what is asked for, such as ``an image``, and many of them, ``images``.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise VariorumError(str(path), expected=f"{one} or a folder of {what}", found="nothing of this name",
                            do="Check the path.")  # fmt: skip
    by_class = class_folders(path, suffixes)
    found = [*files_in(path, suffixes), *(file for sub in by_class for file in files_in(sub, suffixes))]
    if not found:
        raise VariorumError(str(path), expected=f"{what} in the folder", found="none",
                            do=f"Give a folder that holds {what} ({', '.join(sorted(suffixes))}).")  # fmt: skip
    return found


def holds(folder: Path, suffixes: Collection[str]) -> bool:
    """Does it hold such files, by class or not?"""
    return folder.is_dir() and bool(files_in(folder, suffixes) or class_folders(folder, suffixes))
