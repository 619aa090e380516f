"""Shapes by class: points drawn by area, clouds of any size, and faults told."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from variorum.core import Spec, VariorumError, find_entry
from variorum.data.cloud_files import DRAWN, MESHES, on_surface, read_cloud
from variorum.data.point_clouds import PointCloudTask, normalised
from variorum.data.readers.reader import detect, load_task
from variorum.runtime.bundle import Bundle

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
FACES = [(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1), (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4),
         (1, 5, 7), (1, 7, 3)]  # fmt: skip


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path_factory.mktemp("cache")))


def box(path, size=(1.0, 1.0, 1.0)):
    """A box in the format that the suffix names."""
    at, kind = CORNERS * size, path.suffix
    said = [" ".join(f"{v:.6f}" for v in corner) for corner in at]
    faces = [" ".join(map(str, face)) for face in FACES]
    if kind == ".obj":
        ones = [" ".join(str(i + 1) for i in face) for face in FACES]
        text = (
            "mtllib none.mtl\n" + "".join(f"v {s}\n" for s in said) + "usemtl red\n" + "".join(f"f {f}\n" for f in ones)
        )
    elif kind == ".off":
        text = f"OFF\n8 {len(FACES)} 0\n" + "\n".join([*said, *(f"3 {f}" for f in faces)]) + "\n"
    elif kind == ".ply":
        text = ("ply\nformat ascii 1.0\nelement vertex 8\nproperty float x\nproperty float y\nproperty float z\n"
                f"element face {len(FACES)}\nproperty list uchar int vertex_indices\nend_header\n")  # fmt: skip
        text += "\n".join([*said, *(f"3 {f}" for f in faces)]) + "\n"
    elif kind == ".stl":
        text = "solid box\n"
        for face in FACES:
            text += (
                "facet normal 0 0 0\nouter loop\n"
                + "".join(f"vertex {said[i]}\n" for i in face)
                + "endloop\nendfacet\n"
            )
        text += "endsolid box\n"
    else:
        text = "\n".join(said) + "\n"
    path.write_text(text)
    return path


def folder(root, suffix=".off", each=8):
    """Cubes and boards, each of another size."""
    rng = np.random.default_rng(0)
    for label, flat in (("board", 0.05), ("cube", 1.0)):
        (root / label).mkdir()
        for i in range(each):
            box(root / label / f"{i}{suffix}", rng.uniform(1, 2, 3) * (1, 1, flat))
    return root


@pytest.mark.parametrize("suffix", sorted(MESHES))
def test_meshes_of_every_kind_are_drawn_by_area(tmp_path, suffix):
    """Of a box of 1 x 1 x 3, four sides have 3/14 of the surface each and two 1/14."""
    points = read_cloud(box(tmp_path / f"a{suffix}", (1, 1, 3)), seed=0)
    assert points.shape == (DRAWN, 3) and points.min() >= 0 and points.max() <= 3
    sides = [np.isclose(points[:, axis], side).mean() for axis in range(3) for side in (0, (1, 1, 3)[axis])]
    np.testing.assert_allclose(sides, [3 / 14] * 4 + [1 / 14] * 2, atol=0.03)
    again = read_cloud(tmp_path / f"a{suffix}", seed=0)
    assert (points == again).all() and not (points == read_cloud(tmp_path / f"a{suffix}", seed=1)).all()


def test_points_on_a_triangle_are_uniform():
    corners = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[5, 0, 0], [5, 0, 0], [9, 0, 0]]], dtype=float)
    points = on_surface(corners, np.random.default_rng(0), 20000)
    assert points[:, :2].sum(1).max() <= 1 + 1e-9, "the second triangle has no area"
    np.testing.assert_allclose(points.mean(0), [1 / 3, 1 / 3, 0], atol=0.01)
    assert (points[:, 0] < 0.5).mean() == pytest.approx(0.75, abs=0.01)


def test_a_folder_of_shapes(tmp_path):
    task = load_task(folder(tmp_path))
    assert task.facts == {"classes": 2} and task.labels == ("board", "cube")
    assert [len(task.parts.rows(p)) for p in ("train", "valid", "test")] == [8, 4, 4]
    x = task.batch(0, 6, 0).inputs["inputs"]
    assert x.shape == (6, 128, 3) and 0.9 < float(x.norm(dim=2).max()) < 1.15
    assert not torch.equal(x, task.batch(1, 6, 0).inputs["inputs"])
    held = next(task.held_out("test", 4)).inputs["inputs"]
    torch.testing.assert_close(held.norm(dim=2).amax(1), torch.ones(4))
    torch.testing.assert_close(held.mean(1), torch.zeros(4, 3), atol=1e-6, rtol=0)
    assert any("none is turned" in note for note in task.notes)


def test_clouds_of_any_size_are_packed(tmp_path):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 300, 30)
    np.savez(tmp_path / "a.npz", points=rng.normal(size=(lengths.sum(), 4)), lengths=lengths, y=np.arange(30) % 3)
    task = load_task(tmp_path / "a.npz")
    assert "layout" in task.batch(0, 8, 0).inputs
    layout = next(task.given(task.parts.rows("train"), 30)).inputs["layout"]
    assert sorted(layout.lengths) == sorted(np.minimum(lengths, 128)[task.parts.train]) and min(layout.lengths) < 128
    assert any("first three are read" in note for note in task.notes)
    np.savez(tmp_path / "b.npz", points=rng.normal(size=(30, 20, 3)), y=np.arange(30) % 3)
    assert load_task(tmp_path / "b.npz").batch(0, 8, 0).inputs["inputs"].shape == (8, 20, 3)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".xyz", ".pts", ".csv"])
def test_files_of_points(tmp_path, suffix):
    wanted, path = CORNERS * 2, tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, wanted)
    elif suffix == ".npz":
        np.savez(path, points=wanted)
    else:
        between = "," if suffix == ".csv" else " "
        head = {".csv": "x,y,z\n", ".pts": "8\n", ".xyz": "# eight corners\n"}[suffix]
        path.write_text(head + "".join(between.join(map(str, row)) + f"{between}7\n" for row in wanted))
    found = read_cloud(path, seed=0)
    assert sorted(map(tuple, found)) == sorted(map(tuple, wanted))


def test_copies_and_broken_files_are_left_out_and_said(tmp_path):
    folder(tmp_path, each=20)
    first = tmp_path / "cube" / "0.off"
    (tmp_path / "cube" / "copy.off").write_bytes(first.read_bytes())
    (tmp_path / "cube" / "broken.off").write_text("OFF\n8 12 0\n0 0")
    notes = " ".join(load_task(tmp_path).notes)
    assert "1 files could not be read" in notes and "1 files are copies" in notes and "40 clouds of 2 classes" in notes


def test_the_spec_alone_reads_shapes(tmp_path):
    task = load_task(folder(tmp_path))
    model = find_entry("turner-introduction").fit("point clouds").fill(**task.facts).build().eval()
    bundle = Bundle.of(model, task)
    answers = bundle.predict(str(tmp_path))
    assert len(answers) == 16 and answers.index[0].endswith("0.off") and answers.equals(bundle.predict(str(tmp_path)))
    one = bundle.predict(str(tmp_path / "cube" / "3.off"))
    assert one["probability"].iloc[0] == pytest.approx(answers["probability"].iloc[11], abs=1e-6)
    assert len(bundle.predict([CORNERS, CORNERS[:1], np.ones((500, 3))])) == 3
    assert Spec.from_json(task.preprocess.to_json()) == task.preprocess
    for wrong, said in ((np.zeros((2, 4)), r"\(n, 3\)"), (7, "a path"), ("none", "nothing of this name"),
                        (np.full((1, 3, 3), np.nan), "finite")):  # fmt: skip
        with pytest.raises(VariorumError, match=said):
            bundle.predict(wrong)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: box(p / "a.obj"), "one shape|at least two sub-folders"),
        (lambda p: np.savez(p / "a.npz", points=np.zeros((9, 4, 2)), y=np.arange(9)), "shape"),
        (lambda p: np.savez(p / "a.npz", points=np.zeros((9, 4, 3))), "a class for each cloud"),
        (lambda p: np.savez(p / "a.npz", points=np.zeros((99, 4, 3)), y=np.arange(99) % 2), "found 2"),
        (lambda p: np.savez(p / "a.npz", points=np.full((9, 4, 3), np.nan), y=np.arange(9)), "clouds with points"),
        (lambda p: np.savez(p / "a.npz", points=np.random.rand(20, 4, 3), y=np.zeros(20)), "two different answers"),
        (lambda p: np.savez(p / "a.npz", points=np.random.rand(20, 4, 3), y=np.arange(20)), "at least 5 clouds"),
    ],
)
def test_faults_are_told(tmp_path, make, said):
    make(tmp_path)
    source = next(tmp_path.iterdir())
    with pytest.raises(VariorumError, match=said):
        load_task(source)


def test_a_class_of_shapes_alone_and_too_many_broken_ones_are_told(tmp_path):
    folder(tmp_path)
    for file in (tmp_path / "cube").iterdir():
        file.write_text(f"no mesh {file.name}")
    with pytest.raises(VariorumError, match="8 of 16 broken"):
        load_task(tmp_path)
    for file in (tmp_path / "cube").iterdir():
        file.unlink()
    with pytest.raises(VariorumError, match="one class folder, 'board'"):
        detect(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scale=st.floats(1e-300, 1e300), shift=st.floats(-1e6, 1e6), n=st.integers(1, 20))
def test_any_cloud_is_centred_and_scaled(scale, shift, n):
    cloud = (np.random.default_rng(n).normal(size=(n, 3)) + shift) * scale
    found = normalised(cloud[np.isfinite(cloud).all(axis=1)])
    assert np.isfinite(found).all() and found.dtype == np.float32
    assert not len(found) or np.linalg.norm(found, axis=1).max() <= 1 + 1e-5


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None)
@given(
    suffix=st.sampled_from(sorted(MESHES | {".xyz", ".npy", ".npz", ".csv"})),
    raw=st.binary(max_size=80),
    at=st.integers(0, 400),
)
def test_any_bytes_are_read_or_told(tmp_path, suffix, raw, at):
    whole = box(tmp_path / f"whole{suffix}" if suffix in MESHES else tmp_path / "whole.xyz").read_bytes()
    if suffix in (".npy", ".npz"):
        (np.save if suffix == ".npy" else np.savez)(tmp_path / f"whole{suffix}", CORNERS)
        whole = (tmp_path / f"whole{suffix}").read_bytes()
    path = tmp_path / f"a{suffix}"
    path.write_bytes(whole[:at] + raw)
    try:
        points = read_cloud(path, seed=0)
    except VariorumError as error:
        assert str(path) in str(error)
    else:
        assert points.ndim == 2 and points.shape[1] == 3 and len(points) and np.isfinite(points).all()


def test_training_points_are_drawn_anew_and_noise_is_small():
    task = PointCloudTask("digit-points", jitter=0.0)
    drawn, held = task.batch(0, 4, 0), task.given(task.parts.train, 2000)
    assert drawn.inputs["layout"].lengths and next(held).inputs["inputs"].isfinite().all()
    noisy = PointCloudTask("digit-points").batch(0, 4, 0)
    gap = noisy.inputs["inputs"] - drawn.inputs["inputs"]
    assert float(gap.std()) == pytest.approx(0.02, rel=0.2)


def test_shapes_are_read_once_and_changed_ones_again(tmp_path, monkeypatch):
    folder(tmp_path)
    first = PointCloudTask(str(tmp_path))
    monkeypatch.setattr("variorum.data.point_clouds.read_cloud", lambda *_: pytest.fail("it was read before"))
    again = PointCloudTask(str(tmp_path))
    assert all(torch.equal(a, b) for a, b in zip(first.clouds, again.clouds, strict=True))
    monkeypatch.undo()
    box(tmp_path / "cube" / "3.off", (9.0, 9.0, 0.1))
    changed = PointCloudTask(str(tmp_path))
    assert [torch.equal(a, b) for a, b in zip(first.clouds, changed.clouds, strict=True)].count(False) == 1
