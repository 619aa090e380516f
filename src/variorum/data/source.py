"""What a path or a name holds: a table, images or text."""

from pathlib import Path

from variorum.core import VariorumError
from variorum.core.errors import nearest
from variorum.data.sets import SETS

TABLES = frozenset({".csv", ".tsv", ".parquet"})
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
TEXTS = frozenset({".txt", ".md"})
LOOKED_AT = 1 << 20
"""Bytes of a file of unknown suffix that are read to see whether it is text."""


def detect(path: str | Path) -> str:
    """``table``, ``images`` or ``text``.

    A .csv, .tsv or .parquet file is a table; a folder with a sub-folder of images for each class is images; any other
    file that is UTF-8 text is text; a bundled name is what it is. Raises :class:`VariorumError` for everything else.
    """
    where = Path(path)
    if where.is_dir():
        _check_folder(where)
        return "images"
    if not where.exists():
        return _bundled(str(path))
    suffix = where.suffix.lower()
    if where.stat().st_size == 0:
        raise VariorumError(str(path), expected="a file with content", found="an empty file", do="Give another file.")
    if suffix in TABLES:
        return "table"
    if suffix in IMAGES:
        raise VariorumError(
            str(path),
            expected="a folder with a sub-folder of images for each class",
            found="one image",
            do="Give the folder that holds the class folders.",
        )
    if suffix not in TEXTS and not _is_text(where):
        raise VariorumError(
            str(path),
            expected=f"a table ({', '.join(sorted(TABLES))}), a folder of images, or UTF-8 text",
            found=f"a file of unknown kind ({suffix or 'no suffix'})",
            do="Convert it to one of these.",
        )
    return "text"


def image_files(folder: Path) -> list[Path]:
    """Images in a folder, in the order of their names; hidden files are passed over."""
    return sorted(
        f for f in folder.iterdir() if f.suffix.lower() in IMAGES and not f.name.startswith(".") and f.is_file()
    )


def class_folders(folder: Path) -> list[Path]:
    """Sub-folders that hold images, in the order of their names."""
    return sorted(sub for sub in folder.iterdir() if sub.is_dir() and not sub.name.startswith(".") and image_files(sub))


def _check_folder(folder: Path) -> None:
    classes = class_folders(folder)
    if len(classes) > 1:
        return
    loose = len(image_files(folder))
    found = (
        f"one class folder, {classes[0].name!r}"
        if classes
        else f"{loose} images beside one another"
        if loose
        else "none"
    )
    raise VariorumError(str(folder), expected="at least two sub-folders of images, one for each class", found=found,
                        do="Sort the images into one folder a class: cats/1.png, dogs/1.png, ...")  # fmt: skip


def _bundled(name: str) -> str:
    if name in SETS:
        return SETS[name].kind
    parent = Path(name).parent
    beside = (
        [str(parent / f.name) if str(parent) != "." else f.name for f in parent.iterdir()] if parent.is_dir() else []
    )
    raise VariorumError(name, expected="a file, a folder, or a bundled name", found="nothing of this name",
                        do=nearest(name, {*SETS, *beside}))  # fmt: skip


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(LOOKED_AT)
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character may be cut where the reading stopped.
        return error.start >= len(head) - 3 and len(head) == LOOKED_AT and b"\0" not in head
    return b"\0" not in head
