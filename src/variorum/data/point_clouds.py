"""Clouds of points with a class each: shapes as they are scanned, or drawn from the surfaces of models."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from variorum.core import Objective, Spec, VariorumError
from variorum.data.alike import draw_alike, in_turn
from variorum.data.answering import objective_of, scored
from variorum.data.cloud_files import CLOUDS, DRAWN, holds_clouds, read_cloud, read_clouds
from variorum.data.draw import Parts
from variorum.data.folders import by_class, given_files, shown
from variorum.data.given_frame import say
from variorum.data.kept import Decoded, Row, identity, kept, key_of
from variorum.data.npz import real
from variorum.data.preprocess import Preprocess
from variorum.data.row_answers import FEWEST, answers
from variorum.data.sets.bundled import find_set
from variorum.data.targets import ClassTarget, Target
from variorum.data.task import Batch, Split
from variorum.data.uneven import Uneven, arguments, packed
from variorum.data.whole_rows import WholeRowTask

if TYPE_CHECKING:
    import pandas as pd

UNREADABLE = 0.05
"""Share of a folder's files that may be broken; more is an error."""
MOST_KEPT = 1 << 30
"""Bytes of points that are kept between runs."""
JITTER = 0.02
"""Deviation of the noise on the coordinates of training points (Qi et al. 2016, arXiv:1612.00593, section 5.1)."""


class CloudPoints(Preprocess):
    """Clouds -> (batch, points, 3) float32, or packed if some are smaller: centred, the farthest point at distance 1.

    points: at most, of a cloud; drawn anew with a fixed seed, so that the same cloud gives the same answer.
    """

    reads = "point clouds"
    examples = ({"points": 16, "target": ClassTarget.spec(name="class", labels=("chair", "bed"))},)

    def __init__(self, *, points: int, target: Spec[Target]) -> None:
        self.points = points
        self.target = target.build()

    def open(self, rows: Any) -> "list[tuple[str, np.ndarray]]":
        """A file, a folder of files (by class or not), an array (rows, n, 3) or (n, 3), or a list of (n, 3)."""
        if isinstance(rows, str | Path):
            return _opened(Path(rows), self.points)
        found = [rows] if isinstance(rows, np.ndarray | Tensor) and rows.ndim == 2 else rows
        if not isinstance(found, list | tuple | np.ndarray | Tensor):
            raise VariorumError("clouds", expected="a path, an array (rows, n, 3), or a list of (n, 3)",
                                found=type(rows).__name__, do="Give one of these.")  # fmt: skip
        return [(str(i), _from_array(row, self.points)) for i, row in enumerate(found)]

    def batches(self, rows: Any, size: int) -> Iterator[dict[str, Any]]:
        for start in range(0, len(rows), size):
            yield arguments([torch.from_numpy(normalised(row)) for _, row in rows[start : start + size]])

    @property
    def axes(self) -> dict[str, dict[int, str]]:
        return {"inputs": {0: "batch", 1: "length"}}

    def sample(self, rows: int, length: int) -> dict[str, Tensor]:
        made = np.random.default_rng(0).standard_normal((rows, length, 3))
        return {"inputs": torch.from_numpy(np.stack([normalised(row) for row in made]))}

    def answers(self, rows: Any, outputs: list[Any]) -> "pd.DataFrame":
        import pandas as pd

        return pd.DataFrame(self.target.said(outputs), index=[name for name, _ in rows])


class PointCloudTask(WholeRowTask):
    """Say which class a shape is of; the metric is accuracy.

    source: a folder with a sub-folder of meshes or clouds for each class, an .npz archive, or a bundled name.
    points: of a cloud that a model is given, at most.    jitter: deviation of the noise on training points.
    Of larger clouds, a training batch draws points anew and a held-out row has the same ones always. Clouds are not
    turned, for which way is up is not known. Split 60/20/20, stratified, by ``seed`` alone.
    """

    reads = "point clouds"
    metric = "accuracy"
    writes = "class"
    examples = ({"source": "digit-points"},)

    def __init__(self, source: str, *, points: int = 128, jitter: float = JITTER, seed: int = 0) -> None:
        self.source, self.points, self.jitter, self.seed = source, points, jitter, seed
        bundled = find_set(source, self.reads)
        clouds, labels, notes, parts = (*bundled.read(), None) if bundled else _read(Path(source), seed)
        clouds, labels, given, more = _kept(clouds, labels, parts, source)
        told = answers(source, labels, what="clouds", seed=seed, classes=True, given=given)
        self.parts: Parts = told.parts
        self.clouds = [torch.from_numpy(normalised(cloud)) for cloud in clouds]
        self._fixed = Uneven([normalised(cloud[:points]) for cloud in clouds])
        self._targets = torch.from_numpy(told.codes)
        self.preprocess: Spec[CloudPoints] = CloudPoints.spec(points=points, target=told.target)
        self.labels: tuple[Any, ...] = told.target.build().labels
        lengths = [len(cloud) for cloud in clouds]
        many = f"{min(lengths)}" if len(set(lengths)) == 1 else f"{min(lengths)} to {max(lengths)}"
        said = [bundled.says] if bundled else []
        self.notes: tuple[str, ...] = (
            *said,
            f"{len(clouds)} clouds of {len(self.labels)} classes, {many} points, at most {points} of them at a time.",
            f"Clouds are centred and scaled to radius 1; training points get noise of {jitter}; none is turned.",
            *notes, *more,
        )  # fmt: skip

    @property
    def facts(self) -> dict[str, Any]:
        return {"classes": len(self.labels)}

    @property
    def objective(self) -> Spec[Objective]:
        return objective_of(self.writes)

    def batch(self, step: int, size: int, seed: int) -> Batch:
        rows = self.parts.train[draw_alike(self._fixed.lengths[self.parts.train], step, size, seed)]
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        drawn = []
        for row in rows.tolist():
            cloud = self.clouds[row]
            if len(cloud) > self.points:
                cloud = cloud[torch.randperm(len(cloud), generator=generator)[: self.points]]
            drawn.append(cloud + self.jitter * torch.randn(cloud.shape, generator=generator))
        given = {"inputs": torch.stack(drawn)} if self._fixed.equal else packed(drawn)
        return Batch(given, self.targets(rows))

    def held_out(self, split: Split, size: int) -> Iterator[Batch]:
        rows = self.parts.rows(split)
        return self.given(rows[in_turn(self._fixed.lengths[rows])], size)

    def given(self, rows: np.ndarray, size: int) -> Iterator[Batch]:
        """The clouds of these numbers, with the points that are always theirs, in batches of up to ``size``."""
        pieces = (rows[i : i + size] for i in range(0, len(rows), size))
        return (Batch(self._fixed.given(piece), self.targets(piece)) for piece in pieces)

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        return scored(self.writes, outputs, targets)


def normalised(points: np.ndarray) -> np.ndarray:
    """(n, 3) float32: the mean at 0, the farthest point at distance 1. One point alone stands at 0."""
    largest = np.abs(points).max(initial=0.0)
    points = points / largest if 0 < largest < np.inf else points  # squares of large numbers must not overflow
    apart = points - points.mean(axis=0)
    far = float(np.sqrt(np.square(apart).sum(axis=1)).max(initial=0.0))
    return (apart / far if far > 1e-12 else 0 * apart).astype(np.float32)


def _read(path: Path, seed: int) -> tuple[list[np.ndarray], list[Any], list[str], list[str] | None]:
    """Clouds, their answers, notes, and their parts if folders tell."""
    if not path.is_dir():
        return *read_clouds(path, seed), None
    sort = by_class(path, CLOUDS, "shapes")
    files = [(file, sort.names[code]) for file, code in zip(sort.files, sort.classes, strict=True)]
    found = _decoded(sort.files, seed)
    clouds, labels, broken, seen, parts = [], [], [], set(), []
    for number, ((file, label), (start, count), told) in enumerate(zip(files, found.places, found.told, strict=True)):
        # Points of a surface are drawn at random, so that copies are only seen in the files.
        if (key := (told["digest"], label)) in seen:
            continue
        seen.add(key)
        if told["fault"]:
            broken.append(f"{shown(file)}: {told['fault']}")
            continue
        numbers = found.numbers[start : start + count] if start >= 0 else _decode(file, _seed(seed, number))[0]
        clouds.append(np.array(numbers, dtype=np.float64).reshape(-1, 3))
        labels.append(label)
        parts += [sort.parts[number]] if sort.parts else []
    if len(broken) > UNREADABLE * len(files):
        raise VariorumError(str(path), expected="shapes that can be read", do="Remove or replace them.",
                            found=f"{len(broken)} of {len(files)} broken, the first {broken[0]}")  # fmt: skip
    notes = [f"{len(broken)} files could not be read and are left out (first: {broken[0]})."] if broken else []
    copies = len(files) - len(seen)
    notes += [f"{copies} files are copies of others of the same class and are left out."] if copies else []
    return clouds, labels, [*sort.notes, *notes], parts or None


def _decoded(files: list[Path], seed: int) -> Decoded:
    """The clouds of files; meshes take long to read, and a comparison reads them once for each candidate."""

    def make() -> tuple[dict[str, Any], Iterator[Row]]:
        return {}, (_decode(file, _seed(seed, number)) for number, file in enumerate(files))

    key = key_of("point clouds", seed, DRAWN, [identity(file) for file in files])
    return kept(key, np.float32, make, MOST_KEPT)


def _decode(file: Path, seed: int) -> Row:
    """The normalised points of a file, flat; what tells copies; and why it cannot be read, if it cannot."""
    try:
        with file.open("rb") as opened:
            told = {"digest": hashlib.file_digest(opened, "sha256").hexdigest(), "fault": ""}
        return normalised(read_cloud(file, seed)).ravel(), told
    except OSError as error:
        return np.zeros(0, np.float32), {"digest": str(file), "fault": str(error)}
    except VariorumError as error:
        return np.zeros(0, np.float32), {**told, "fault": error.found}


def _seed(seed: int, number: int) -> int:
    return seed * 1_000_003 + number


def _kept(
    clouds: list[np.ndarray], labels: list[Any], parts: list[str] | None, source: str
) -> tuple[list[np.ndarray], list[Any], list[str] | None, list[str]]:
    """The clouds that have points and an answer, each but once; their parts, and notes."""
    if all(label is None for label in labels):
        raise VariorumError(source, expected="a class for each cloud", found="none", do="Add an array y (rows,).")
    notes, seen, rows = [], set(), []
    counts = {"have no class": 0, "have no points": 0, "are copies of others of the same class": 0}
    for i, (cloud, label) in enumerate(zip(clouds, labels, strict=True)):
        # Points come in random order: the same cloud twice is the same when sorted.
        key = (cloud[np.lexsort(cloud.T)].tobytes(), str(label))
        fault = "have no class" if label is None else "have no points" if not len(cloud) else \
            "are copies of others of the same class" if key in seen else ""  # fmt: skip
        if fault:
            counts[fault] += 1
            continue
        seen.add(key)
        rows.append(i)
    notes = [f"{count} clouds {fault} and are left out." for fault, count in counts.items() if count]
    if len(rows) < 2 * FEWEST:
        raise VariorumError(source, expected=f"at least {2 * FEWEST} clouds with points and a class",
                            found=str(len(rows)), do="Add clouds.")  # fmt: skip
    given = [parts[i] for i in rows] if parts else None
    return [clouds[i] for i in rows], [labels[i] for i in rows], given, notes


def _opened(path: Path, points: int) -> list[tuple[str, np.ndarray]]:
    if holds_clouds(path):
        clouds, _, notes = read_clouds(path, 0)
        say(notes)
        return [(str(i), _some(str(i), cloud)[:points]) for i, cloud in enumerate(clouds)]
    files = given_files(path, CLOUDS, one="a shape", what="shapes")
    return [(shown(file), read_cloud(file, 0, points)) for file in files]


def _some(name: str, cloud: np.ndarray) -> np.ndarray:
    if not len(cloud):
        raise VariorumError(f"cloud {name}", expected="a point with three finite coordinates", found="none",
                            do="Remove it.")  # fmt: skip
    return cloud


def _from_array(row: Any, points: int) -> np.ndarray:
    try:
        values = real(row)
    except (ValueError, TypeError) as error:
        raise VariorumError("cloud", expected="numbers (n, 3)", found=str(error)[:80], do="Give arrays.") from None
    if values.ndim != 2 or values.shape[1] != 3:
        raise VariorumError("cloud", expected="an array (n, 3)", found=f"shape {values.shape}",
                            do="Give x, y and z of each point.")  # fmt: skip
    finite = np.isfinite(values).all(axis=1)
    if gone := int((~finite).sum()):
        say([f"{gone} points of a cloud without three finite coordinates are left out."])
    values = _some("given", values[finite])
    return values[np.random.default_rng(0).permutation(len(values))[:points]]
