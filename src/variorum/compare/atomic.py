"""Files that are either the old ones or the new ones, never half of either, whenever the process is killed."""

import os
import shutil
import uuid
from errno import EDQUOT, ENOSPC
from pathlib import Path

from safetensors import SafetensorError


def disk_is_full(error: BaseException) -> bool:
    """Does the error say so?"""
    if isinstance(error, SafetensorError):  # it has none of Python's own errors, and tells the system's number in words
        return f"os error {ENOSPC}" in str(error)
    return isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT)


def write(path: Path, text: str) -> None:
    """Replace the file at ``path`` by one that holds ``text`` (UTF-8)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with fresh.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def copy_folder(source: Path, path: Path) -> None:
    """Replace the folder at ``path`` by a copy of ``source``; a reader sees the old one, none, or the new one."""
    mine = uuid.uuid4().hex  # another machine may do the same in the same folder
    fresh, old = (path.with_name(f".{path.name}.{word}.{mine}") for word in ("new", "old"))
    try:
        fresh.mkdir(parents=True)
        for file in sorted(source.rglob("*")):  # shutil.copytree would hide what the system says of a full disk
            copy = fresh / file.relative_to(source)
            if file.is_dir():
                copy.mkdir()
            else:
                shutil.copyfile(file, copy)
        if path.exists():
            path.replace(old)
        fresh.replace(path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
