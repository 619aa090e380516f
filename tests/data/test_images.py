import numpy as np
import pytest
import torch
from PIL import Image

from samples.pictures import write_digits
from variorum.core import Spec, VariorumError
from variorum.data import pictures
from variorum.data.images import ImagePixels, ImageTask, fitted, open_image, shifted
from variorum.data.readers.reader import load_task


def test_a_folder_by_class(tmp_path):
    task = ImageTask(str(write_digits(tmp_path)))
    assert task.facts == {"classes": 3, "channels": 1, "height": 8, "width": 8}
    assert task.labels == ("digit 0", "digit 1", "digit 2") and task.notes == (
        "18 grey images of 3 classes as 8 x 8 pixels.",
    )
    X, y = task.arrays("train")
    assert X.shape == (12, 1, 8, 8) and np.bincount(y).tolist() == [4, 4, 4]
    assert X.mean() == pytest.approx(0, abs=1e-5) and X.std() == pytest.approx(1, abs=1e-5)


def test_the_spec_alone_encodes_files_like_the_task(tmp_path):
    folder = write_digits(tmp_path)
    task = ImageTask(str(folder))
    pixels = Spec.from_json(task.preprocess.to_json()).build()
    opened = pixels.open(folder)
    encoded = torch.cat([b["inputs"] for b in pixels.batches(opened, 7)])
    everything = torch.cat([b.inputs["inputs"] for s in ("train", "valid", "test") for b in task.held_out(s, 4)])
    order = np.concatenate([task.parts.train, task.parts.valid, task.parts.test])
    torch.testing.assert_close(encoded[torch.from_numpy(order)], everything, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("mode", "channels"),
    [
        ("1", 1),
        ("L", 1),
        ("LA", 1),
        ("P", 3),
        ("RGB", 3),
        ("RGBA", 3),
        ("CMYK", 3),
        ("YCbCr", 3),
        ("I", 1),
        ("I;16", 1),
        ("F", 1),
    ],
)
def test_every_mode_becomes_bytes(mode, channels):
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (10, 12, 3), dtype=np.uint8))
    image = (
        Image.fromarray(rng.integers(0, 60000, (10, 12)).astype(np.uint16)) if mode == "I;16" else colour.convert(mode)
    )
    assert image.mode == mode
    for wanted in (1, 3):
        out = fitted(image, 4, 8, wanted)
        assert out.shape == (wanted, 4, 8) and out.dtype == np.uint8 and out.std() > 5
    three = fitted(image, 4, 8, 3)
    assert (three == three[:1]).all() == (channels == 1)


def test_transparency_lies_on_white():
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert (fitted(clear, 4, 4, 1) == 255).all()


def test_sizes_and_modes_are_brought_together(tmp_path):
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for i, (height, width) in enumerate([(20, 30), (22, 31), (24, 33), (200, 300), (10, 9)]):
            pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert("L" if i % 2 else "RGB").save(tmp_path / label / f"{i}.png")
    assert ImageTask(str(tmp_path)).facts == {"classes": 2, "channels": 3, "height": 24, "width": 32}
    assert ImageTask(str(tmp_path), size=(5, 6)).facts["height"] == 5
    for file in tmp_path.rglob("*.png"):
        Image.fromarray(rng.integers(0, 256, (100, 300, 3), dtype=np.uint8)).save(file)
    facts = ImageTask(str(tmp_path)).facts
    assert (facts["height"], facts["width"]) == (20, 64)


def test_colour_files_of_grey_pictures_are_grey(tmp_path):
    for file in write_digits(tmp_path).rglob("*.png"):
        Image.open(file).convert("RGB").save(file)
    assert ImageTask(str(tmp_path)).facts["channels"] == 1


def test_a_few_broken_images_are_left_out_and_said(tmp_path):
    folder = write_digits(tmp_path, each=30)
    whole = (folder / "digit 0" / "3.png").read_bytes()
    (folder / "digit 0" / "3.png").write_bytes(whole[: len(whole) // 2])
    (folder / "digit 1" / "4.png").write_bytes(b"no image at all")
    task = ImageTask(str(folder))
    assert "2 images could not be read and are left out (first: " in task.notes[1] and "3.png" in task.notes[1]
    assert sum(len(task.parts.rows(s)) for s in ("train", "valid", "test")) == 88


def test_many_broken_images_are_an_error(tmp_path):
    folder = write_digits(tmp_path)
    for file in (folder / "digit 0").iterdir():
        file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(
        VariorumError, match=r"expected images that can be decoded, found 6 of 18 broken, the first .*0\.png"
    ):
        ImageTask(str(folder))


@pytest.mark.parametrize("cut", range(0, 100, 7))
def test_a_broken_image_names_the_file(tmp_path, cut):
    file = next(write_digits(tmp_path, each=1, suffix=".jpg").rglob("*.jpg"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) * cut // 100])
    with pytest.raises(VariorumError, match=r"0\.jpg: expected an image that can be decoded"):
        open_image(file)


def test_too_few_images(tmp_path):
    with pytest.raises(
        VariorumError, match=r"at least 5 images of each class, found too few in digit 0 \(4\), digit 1 \(4\)"
    ):
        ImageTask(str(write_digits(tmp_path, each=4)))


def test_shifts_move_pixels_and_are_a_function_of_seed_and_step():
    images = torch.arange(2 * 12, dtype=torch.float32).view(2, 1, 3, 4) + 1
    moved = shifted(images, np.array([[1, -1], [0, 2]]))
    assert moved[0, 0].tolist() == [[0, 0, 0, 0], [2, 3, 4, 0], [6, 7, 8, 0]]
    assert moved[1, 0].tolist() == [[0, 0, 13, 14], [0, 0, 17, 18], [0, 0, 21, 22]]
    task = ImageTask("digits", shift=2)
    a, b, c = (task.batch(step, 8, 1).inputs["inputs"] for step in (3, 3, 4))
    assert torch.equal(a, b) and not torch.equal(a, c)
    plain = ImageTask("digits", shift=0).batch(3, 8, 1).inputs["inputs"]
    assert not torch.equal(a, plain) and plain.shape == a.shape


def test_digits_are_real_and_learnable():
    from sklearn.linear_model import LogisticRegression

    task = load_task("digits")
    assert task.facts == {"classes": 10, "channels": 1, "height": 8, "width": 8} and task.shift == 0
    (X, y), (Xt, yt) = task.arrays("train"), task.arrays("test")
    assert LogisticRegression(max_iter=300).fit(X.reshape(len(X), -1), y).score(Xt.reshape(len(Xt), -1), yt) > 0.93


def test_arrays_files_and_lists_are_read_alike(tmp_path):
    file = next(write_digits(tmp_path, each=1, classes=(3, 4)).rglob("*.png"))
    raw = np.asarray(Image.open(file))
    pixels = ImagePixels(height=8, width=8, mean=(0.3,), std=(0.4,), labels=("a", "b"))
    wanted = pixels.encode([file])
    for given in ([raw], raw[None], [raw / 255], torch.from_numpy(raw[None].copy()), [str(file)], [raw[None]]):
        torch.testing.assert_close(pixels.encode(pixels.open(given)), wanted)
    assert len(pixels.open(tmp_path)) == 2 and pixels.open(file) == [file]
    for wrong, message in (("nowhere", "nothing of this name"), ([np.zeros((2, 2, 2, 2))], "expected an array")):
        with pytest.raises(VariorumError, match=message):
            pixels.encode(pixels.open(wrong))
    (tmp_path / "empty").mkdir()
    with pytest.raises(VariorumError, match="expected images in the folder, found none"):
        pixels.open(tmp_path / "empty")
    with pytest.raises(VariorumError, match="one mean and std for grey"):
        ImagePixels(height=8, width=8, mean=(0.3, 0.1), std=(0.4, 0.1), labels=())


def test_fashion_mnist_says_how_to_get_it(monkeypatch, tmp_path):
    from variorum.data.sets import fashion

    monkeypatch.setattr(fashion, "FOLDER", tmp_path / "none")
    with pytest.raises(VariorumError, match="apt-get install dataset-fashion-mnist"):
        load_task("fashion_mnist")


def test_more_images_than_memory_holds_are_kept_on_disk_with_the_same_results(tmp_path, monkeypatch):
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    folder = write_digits(tmp_path / "digits", each=30)
    (folder / "digit 0" / "3.png").write_bytes(b"no image at all")
    usual, tiny, again = (ImageTask(str(folder), memory=memory) for memory in (1 << 30, 1000, 1000))
    assert not (set(usual.notes) - set(tiny.notes)) and "read from disk" in tiny.notes[-1]
    assert sorted(f.suffix for f in (tmp_path / "cache").iterdir()) == [".json", ".numbers"]
    for task in (tiny, again):
        assert task.preprocess == usual.preprocess and task.facts == usual.facts
        for part in ("train", "valid", "test"):
            for ours, theirs in zip(task.arrays(part), usual.arrays(part), strict=True):
                np.testing.assert_array_equal(ours, theirs)
        assert torch.equal(task.batch(3, 8, 1).inputs["inputs"], usual.batch(3, 8, 1).inputs["inputs"])


def test_what_is_kept_of_images_is_theirs_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    folder = write_digits(tmp_path / "digits")
    before = ImageTask(str(folder), memory=1000).arrays("train")[0]
    for file in folder.rglob("*.png"):
        Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
    np.testing.assert_allclose(ImageTask(str(folder), memory=1000).arrays("train")[0], -before, atol=1e-5)


@pytest.mark.parametrize("obstacle", ["a file", "no room"])
def test_images_are_decoded_as_needed_where_nothing_can_be_kept(tmp_path, monkeypatch, obstacle):
    folder, cache = write_digits(tmp_path / "digits"), tmp_path / "cache"
    monkeypatch.setenv("VARIORUM_CACHE", str(cache))
    if obstacle == "a file":
        cache.write_text("in the way")
    else:
        monkeypatch.setattr(pictures, "KEPT", 500)
    task = ImageTask(str(folder), memory=1000)
    assert ("decoded whenever they are needed" in task.notes[-1]) == (obstacle == "no room")
    np.testing.assert_array_equal(task.arrays("test")[0], ImageTask(str(folder)).arrays("test")[0])
