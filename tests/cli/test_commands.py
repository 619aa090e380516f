"""The commands as a user types them: what they print, and what becomes of a fault in what was given."""

import errno
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import variorum
from variorum.cli import main
from variorum.compare import study
from variorum.compare.baselines.boosting import GradientBoosting
from variorum.core import entries, rows
from variorum.data.readers.reader import load_task
from variorum.runtime.bundle import Bundle, save
from variorum.train.recipe import Budget, Run


class Said:
    """What a command printed, and its exit code."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        out, err = self._capsys.readouterr()
        return int(ended.value.code or 0), out, err


@pytest.fixture
def variorum_(capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(capsys)


# -- catalogue ---------------------------------------------------------------------------------------------------------
def test_version_and_help(variorum_: Said) -> None:
    assert variorum_("--version") == (0, f"{variorum.__version__}\n", "")
    code, out, _ = variorum_("--help")
    assert code == 0
    for command in ("compare", "predict", "export", "list", "show", "check", "catalogue", "doctor"):
        assert command in out


HELP = """
import sys
from variorum.cli import main
try:
    main(["--help"])
except SystemExit:
    print(sorted({"torch", "pandas", "plotly", "sklearn"} & set(sys.modules)))
"""


def test_help_does_not_wait_for_torch() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_list_filters(variorum_: Said) -> None:
    everything = json.loads(variorum_("list", "--json")[1])
    assert len(everything) == 247
    audio = json.loads(variorum_("list", "--modality", "audio", "--kind", "architecture", "--json")[1])
    assert 0 < len(audio) < 247
    assert all(row["modality"] == "audio" and row["kind"] == "architecture" for row in audio)
    texts = json.loads(variorum_("list", "--text", "conformer", "--json")[1])
    assert "stateful-conformer" in {row["slug"] for row in texts}
    parts = json.loads(variorum_("list", "--part", "relpos", "--facet", "mixers", "--json")[1])
    assert parts and all(any("relpos" in part for part in row["parts"]) for row in parts)
    works = json.loads(variorum_("list", "--state", "works", "--json")[1])
    assert {row["slug"] for row in works} == {slug for slug, row in rows().items() if row.state == "works"}
    assert len(variorum_("list", "--state", "planned")[1].splitlines()) == 247 - len(works)


def test_show_tells_sizes_differences_and_checks(variorum_: Said) -> None:
    found = json.loads(variorum_("show", "cct", "--json")[1])
    sizes = {size["name"]: size for size in found["sizes"]}
    assert set(sizes) == set(entries()["cct"].sizes)
    assert sizes["cct-14/7x2"]["parameters"] > sizes["cct-2/3x2"]["parameters"] > 100_000
    assert all(size["flops"] > 1e6 for size in sizes.values())
    assert any(change["path"] == "embed" and "ConvTokens" in change["after"] for change in found["differs"]["changes"])
    code, out, _ = variorum_("show", "cct")
    assert code == 0
    for word in (
        "Escaping the Big Data Paradigm",
        "Claim:",
        "variorum.systems.cct:cct",
        "Differs from the plain Transformer",
        "Checked (",
    ):
        assert word in out


def test_show_counts_the_parameters_that_are_built() -> None:
    from variorum.compare.describe import ASSUMED, describe

    (size,) = (size for size in describe("cct")["sizes"] if size["name"] == "cct-2/3x2")
    model = entries()["cct"].spec("cct-2/3x2").fill(**ASSUMED).build()
    assert size["parameters"] == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    "slug", sorted(slug for slug, entry in entries().items() if entry.function.__module__.startswith("variorum."))
)
def test_every_system_can_be_shown(variorum_: Said, slug: str) -> None:
    code, out, err = variorum_("show", slug)
    assert (code, err) == (0, "")
    assert out.startswith(f"{slug}: ")


def test_a_planned_row_can_be_shown_too(variorum_: Said) -> None:
    planned = next(slug for slug in rows() if slug not in entries())
    code, out, _ = variorum_("show", planned)
    assert code == 0 and f"{planned}: " in out and "(planned)" in out and "Code:" not in out


def test_check_holds_a_part(variorum_: Said) -> None:
    code, out, _ = variorum_("check", "LayerNorm")
    assert code == 0
    assert re.match(r"LayerNorm: \d+ checks, 0 broken", out)


def test_doctor_tells_versions_and_machine(variorum_: Said) -> None:
    code, out, _ = variorum_("doctor")
    assert code == 0
    for word in ("torch", "python", "processor", "cores", "extra export"):
        assert re.search(rf"^{word}\s+\S", out, re.MULTILINE), word


# -- bundles -----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = load_task("iris")
    spec, recipe = GradientBoosting().pair(task)
    model = recipe.build().train(spec, task, Run(Budget(seconds=1)))
    return save(Bundle.of(model, task), tmp_path_factory.mktemp("bundle") / "iris")


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    from sklearn.datasets import load_iris

    path = tmp_path / "flowers.csv"
    load_iris(as_frame=True).data.to_csv(path, index=False)
    return path


def test_predict_prints_or_writes_a_csv(variorum_: Said, bundle: Path, flowers: Path, tmp_path: Path) -> None:
    code, out, _ = variorum_("predict", bundle, flowers)
    assert code == 0
    assert out.splitlines()[0].startswith("row,prediction,probability,p(setosa)")
    assert len(out.splitlines()) == 151
    assert variorum_("predict", bundle, flowers, "--out", tmp_path / "a.csv")[0] == 0
    assert (tmp_path / "a.csv").read_text() == out


def test_export_writes_a_checked_file(variorum_: Said, bundle: Path, tmp_path: Path) -> None:
    code, out, _ = variorum_("export", bundle, "--to", "onnx", "--out", tmp_path / "iris.onnx")
    assert code == 0, out
    assert (tmp_path / "iris.onnx").stat().st_size > 1000
    assert "largest difference" in out


# -- bad input ---------------------------------------------------------------------------------------------------------
def fault(variorum_: Said, *words: object) -> str:
    """The one message of a command that cannot do what it is asked."""
    code, out, err = variorum_(*words)
    assert code == 2
    assert "Traceback" not in out + err
    assert err.startswith("Error: ") and err.count("\n") == 1, err
    return err


@pytest.fixture
def table(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    path = tmp_path / "t.csv"
    pd.DataFrame({"height": draw.normal(size=40), "kind": ["a", "b"] * 20, "same": "x"}).to_csv(path, index=False)
    return path


def test_a_wrong_target(variorum_: Said, table: Path) -> None:
    assert "Did you mean 'kind'?" in fault(variorum_, "compare", table, "--target", "kinds")


def test_a_target_that_is_always_the_same(variorum_: Said, table: Path) -> None:
    assert "found only 'x'" in fault(variorum_, "compare", table, "--target", "same")


@pytest.mark.parametrize("name", ["empty.csv", "empty.txt"])
def test_an_empty_file(variorum_: Said, tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert "an empty file" in fault(variorum_, "compare", tmp_path / name)


def test_no_such_file(variorum_: Said) -> None:
    assert "Did you mean 'digits'" in fault(variorum_, "compare", "digit")


def images(folder: Path, names: list[str], each: int = 8) -> Path:
    draw = np.random.default_rng(0)
    for name in names:
        (folder / name).mkdir(parents=True)
        for i in range(each):
            Image.fromarray(draw.integers(0, 255, (8, 8), dtype=np.uint8)).save(folder / name / f"{i}.png")
    return folder


def test_one_class(variorum_: Said, tmp_path: Path) -> None:
    assert "one class folder, 'cats'" in fault(variorum_, "compare", images(tmp_path / "pets", ["cats"]))


def test_corrupt_images(variorum_: Said, tmp_path: Path) -> None:
    folder = images(tmp_path / "pets", ["cats", "dogs"])
    for i in range(3):
        (folder / "cats" / f"{i}.png").write_bytes(b"\x89PNG\r\n\x1a\nno image")
    said = fault(variorum_, "compare", folder)
    assert "3 of 16 broken" in said.replace(",", "") and str(Path("cats") / "0.png") in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--systems", "cct"), "Systems that fit"),
        (("--systems", "no-such"), "unknown name"),
        (("--minutes", "0"), "a number above 0"),
        (("--minutes", "0.01"), "Give more --minutes"),
        (("--seed", "-1"), "a whole number from 0"),
        (("--workers", "0"), "at least 1"),
        (("--latency", "fast"), "a number above 0 with a unit"),
        (("--size", "-2MB"), "a number above 0 with a unit"),
        (("--steps", "0"), "at least 1"),
        (("--match", "speed"), "Choose one"),
        (("--match", "flops"), "how many steps"),
        (("--ray", "ray://head:10001"), "a --storage that all nodes reach"),
        (("--storage", "nowhere"), "the URL of a database"),
    ],
)
def test_a_wrong_wish(variorum_: Said, table: Path, words: tuple[str, ...], told: str) -> None:
    assert told in fault(variorum_, "compare", table, "--target", "kind", *words)


def test_a_full_disk_is_said(variorum_: Said, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(study, "run", full)
    assert "repeat the command" in fault(variorum_, "compare", table, "--target", "kind")


def test_what_is_no_bundle(variorum_: Said, table: Path, tmp_path: Path) -> None:
    assert "the folder of a bundle" in fault(variorum_, "predict", tmp_path / "none", table)
    assert "the folder of a bundle" in fault(variorum_, "export", table)


def test_rows_that_do_not_fit_a_bundle(variorum_: Said, bundle: Path, table: Path) -> None:
    assert "sepal length (cm)" in fault(variorum_, "predict", bundle, table)


@pytest.mark.parametrize("words", [("show", "cctt"), ("check", "LayerNrom")])
def test_a_name_that_is_not_known_gets_the_nearest(variorum_: Said, words: tuple[str, str]) -> None:
    assert "Did you mean" in fault(variorum_, *words)


@pytest.mark.parametrize("where", ["before", "behind"])
def test_debug_shows_where_it_was_raised(where: str) -> None:
    words = ["--debug", "show", "cctt"] if where == "before" else ["show", "cctt", "--debug"]
    with pytest.raises(variorum.VariorumError):
        main(words)


def test_a_word_that_is_no_command_is_a_usage_error(variorum_: Said) -> None:
    code, _, err = variorum_("compares")
    assert code == 2 and "Traceback" not in err
