"""Files of points and of surfaces: meshes are read by trimesh, and points drawn from their triangles by area."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from variorum.core import VariorumError
from variorum.data.decode import decode
from variorum.data.folders import shown
from variorum.data.npz import NUMBERS, known, labels_of, names_in, numeric, read_npz, rows_of

MESHES = frozenset({".obj", ".off", ".ply", ".stl"})
POINTS = frozenset({".xyz", ".pts", ".npy", ".npz", ".csv"})
CLOUDS = MESHES | POINTS
DRAWN = 2048
"""Points that are drawn from a surface, and kept of a larger cloud."""
LARGEST = 1 << 30
"""Bytes of a file that are read."""


def holds_clouds(path: Path) -> bool:
    """Does an archive say of itself that it holds clouds of points?"""
    return path.is_file() and path.suffix.lower() == ".npz" and "points" in names_in(path)


def read_cloud(path: Path, seed: int, drawn: int = DRAWN) -> np.ndarray:
    """(n, 3) points of a file, at most ``drawn``; of a mesh as many, uniform on its surface. :class:`VariorumError` for
    what cannot be read, or has no point with three finite coordinates.
    """
    rng = np.random.default_rng([seed, 0x3D])
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _unreadable(path, str(error)) from None
    if not 0 < size <= LARGEST:
        raise _unreadable(path, "an empty file" if not size else f"{size:,} bytes")
    suffix = path.suffix.lower()
    if suffix in MESHES:
        return _from_mesh(path, rng, drawn)
    if suffix in (".npy", ".npz"):
        return thinned(finite(path, _from_arrays(path)), rng, drawn)
    return thinned(finite(path, _from_text(path)), rng, drawn)


def read_clouds(path: Path, seed: int) -> tuple[list[np.ndarray], list[Any], list[str]]:
    """Clouds, their answers (None where there is none), and notes, of an archive: ``points`` (rows, n, 3), or (points,
    3) with ``lengths`` (rows,); and ``y`` (rows,).
    """
    arrays = read_npz(path, {"points", "lengths", "y"})
    if "points" not in arrays:
        found = ", ".join(sorted(names_in(path))[:12]) or "none"
        raise VariorumError(str(path), expected="an array named points", found=found,
                            do="Save points (rows, n, 3), or (points, 3) with lengths (rows,), and y.")  # fmt: skip
    points, notes = numeric(path, "points", arrays["points"]), list[str]()
    wanted = 2 if "lengths" in arrays else 3
    if points.ndim != wanted or points.shape[-1] < 3:
        raise VariorumError(f"{path} points", expected="shape (points, 3)" if wanted == 2 else "shape (rows, n, 3)",
                            found=str(points.shape),
                            do="Put x, y and z last; give lengths if clouds are uneven.")  # fmt: skip
    if points.shape[-1] > 3:
        notes.append(f"Of the {points.shape[-1]} numbers of a point, the first three are read: x, y and z.")
    points = points[..., :3]
    clouds = rows_of(path, "points", points, arrays["lengths"]) if wanted == 2 else list(points)
    rng = np.random.default_rng([seed, 0x3D])
    finite_ones = [cloud[np.isfinite(cloud).all(axis=1)] for cloud in clouds]
    if gone := sum(map(len, clouds)) - sum(map(len, finite_ones)):
        notes.append(f"{gone} points without three finite coordinates are left out.")
    labels = labels_of(path, "y", arrays["y"], len(clouds)) if "y" in arrays else np.full(len(clouds), math.nan)
    return [thinned(cloud, rng, DRAWN) for cloud in finite_ones], known(labels), notes


def thinned(points: np.ndarray, rng: np.random.Generator, most: int) -> np.ndarray:
    """At most so many of the points, drawn at random and in random order."""
    return points[rng.permutation(len(points))[:most]]


def on_surface(corners: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    """``count`` points uniform by area on triangles (faces, 3, 3): a + (1 - sqrt u) (b - a) + v sqrt u (c - a)."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    face = np.searchsorted(np.cumsum(area), rng.random(count) * area.sum(), side="right").clip(max=len(area) - 1)
    root, v = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    return a[face] + (1 - root) * (b - a)[face] + v * root * (c - a)[face]


def finite(path: Path, points: np.ndarray) -> np.ndarray:
    """The points (n, 3) with three finite coordinates; VariorumError if there is none."""
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        raise _unreadable(path, "no point with three finite coordinates")
    return points


def _from_mesh(path: Path, rng: np.random.Generator, drawn: int) -> np.ndarray:
    try:
        import trimesh
    except ImportError:
        raise VariorumError("meshes", expected="the package trimesh", found="none installed",
                            do="pip install trimesh, or save points as .npy.") from None  # fmt: skip
    suffix = path.suffix.lower().removeprefix(".")
    # The pictures that an .obj names are of no use here, and need not be there.
    more: dict[str, Any] = {"skip_materials": True} if suffix == "obj" else {}
    try:
        with path.open("rb") as file, np.errstate(all="ignore"):
            found: Any = trimesh.load_scene(file, file_type=suffix, process=False, **more).to_geometry()
        faces = np.asarray(getattr(found, "faces", np.zeros((0, 3))), dtype=np.int64).reshape(-1, 3)
        corners = np.asarray(found.vertices, dtype=np.float64).reshape(-1, 3)
        triangles = corners[faces]
    # What a reader of a dozen formats may raise on broken bytes has no common type.
    except Exception as error:
        raise _unreadable(path, f"{type(error).__name__}: {str(error)[:100]}") from None
    triangles = triangles[np.isfinite(triangles).all(axis=(1, 2))]
    with np.errstate(all="ignore"):
        area = float(np.linalg.norm(np.cross(*(triangles[:, 1:] - triangles[:, :1]).transpose(1, 0, 2)), axis=1).sum())
    if 0 < area < math.inf:
        return on_surface(triangles, rng, drawn)
    return thinned(finite(path, corners), rng, drawn)


def _from_arrays(path: Path) -> np.ndarray:
    if path.suffix.lower() == ".npz":
        arrays = read_npz(path, names_in(path))
        if len(arrays) != 1 and "points" not in arrays:
            raise _unreadable(path, f"the arrays {', '.join(sorted(arrays)[:12]) or 'none'}, and none named points")
        name = "points" if "points" in arrays else next(iter(arrays))
        points = numeric(path, name, arrays[name])
    else:
        try:
            loaded = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError, SyntaxError, TypeError, KeyError, OverflowError, MemoryError) as error:
            raise _unreadable(path, f"{type(error).__name__}: {str(error)[:100]}") from None
        if not isinstance(loaded, np.ndarray) or loaded.dtype.kind not in NUMBERS:
            raise _unreadable(path, "no array of numbers")
        points = numeric(path, "array", loaded)
    if points.ndim != 2 or points.shape[1] < 3:
        raise _unreadable(path, f"an array of shape {points.shape}")
    return points[:, :3]


def _from_text(path: Path) -> np.ndarray:
    """Lines of numbers between blanks, commas or semicolons; a first line of words, or of a count, is passed."""
    text, _ = decode(path.read_bytes(), str(path))
    rows: list[tuple[float, ...]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.replace(",", " ").replace(";", " ").split()
        if not words or words[0].startswith(("#", "//")):
            continue
        try:
            values = tuple(float(word) for word in words[:3])
        except ValueError:
            values = ()
        if len(values) == 3:
            rows.append(values)
        elif rows or number > 2:
            raise _unreadable(path, f"line {number}: {line[:40]!r}")
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def _unreadable(path: Path, found: str) -> VariorumError:
    return VariorumError(shown(path), expected="points with x, y and z, or a mesh of triangles", found=found,
                         do="Remove or replace the file.")  # fmt: skip
