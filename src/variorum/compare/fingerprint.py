"""A hash of the data, so that a comparison is only gone on with on the same rows."""

import hashlib
from pathlib import Path

import variorum


def fingerprint(source: str) -> str:
    """Of a file its content; of a folder names, sizes and times of its files; of a bundled name it and our version."""
    path = Path(source)
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if not path.is_dir():
        return f"{source} of variorum {variorum.__version__}"
    lines = []
    for file_path in sorted(path.rglob("*")):
        if file_path.is_file():
            stat = file_path.stat()
            lines.append(f"{file_path.relative_to(path).as_posix()}\0{stat.st_size}\0{stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
