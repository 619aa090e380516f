import pytest

from samples.pictures import write_digits
from variorum.core import VariorumError
from variorum.data.question import Question
from variorum.data.readers.reader import detect, load_task
from variorum.data.sets.bundled import sets
from variorum.data.text import TextTask


def test_kinds(tmp_path):
    for name, content, kind in (
        ("a.csv", b"a,b\n1,2\n", "table"),
        ("a.TSV", b"a\tb\n", "table"),
        ("a.txt", b"hello", "text"),
        ("a.md", b"# hello", "text"),
        ("code.py", "x = 'é'".encode(), "text"),
        ("LICENSE", b"text without suffix", "text"),
    ):
        (tmp_path / name).write_bytes(content)
        assert detect(tmp_path / name).reads == kind
    assert detect(write_digits(tmp_path / "digits")).reads == "images"


def test_bundled_names():
    kinds = {name: detect(name).reads for name in sets()}
    assert kinds == {name: bundled.reads for name, bundled in sets().items()}
    assert kinds.items() >= {
        "breast_cancer": "table", "diabetes": "table", "digits": "images", "fashion_mnist": "images", "iris": "table",
        "shakespeare": "text", "shakespeare_plays": "labelled texts", "spoken_numbers": "text pairs", "wine": "table",
    }.items()  # fmt: skip


def test_long_text_cut_inside_a_character(tmp_path):
    (tmp_path / "long").write_bytes("é".encode() * (1 << 20))
    (tmp_path / "odd").write_bytes(b"x" + "é".encode() * (1 << 20))
    assert detect(tmp_path / "long").reads == detect(tmp_path / "odd").reads == "text"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda p: "irs",
            "expected a file, a folder, or a bundled name, found nothing of this name. Did you mean 'iris'",
        ),
        (lambda p: (p / "data.csv").write_text("a") and p / "dota.csv", "Did you mean .*data.csv"),
        (lambda p: (p / "empty.csv").touch() or p / "empty.csv", "found an empty file"),
        (lambda p: (p / "x.bin").write_bytes(b"\x00\xff\x00") and p / "x.bin", r"unknown kind \(\.bin\)"),
        (lambda p: (p / "x").write_bytes(b"\xff\xfe\xfd") and p / "x", r"unknown kind \(no suffix\)"),
        (lambda p: p, "found a folder without any of these"),
        (lambda p: write_digits(p, classes=(1,)), "found one class folder, 'digit 1'"),
        (lambda p: write_digits(p, classes=(1,)) / "digit 1", "found 6 images beside one another"),
        (lambda p: write_digits(p, classes=(1,)) / "digit 1" / "0.png", "found one image"),
    ],
)
def test_faults_say_what_to_do(tmp_path, make, message):
    with pytest.raises(VariorumError, match=message):
        detect(make(tmp_path))


def test_load_task(tmp_path):
    with pytest.raises(VariorumError, match="none: images ask for nothing more"):
        load_task("digits", Question(target="y"))
    assert load_task("iris", seed=1).parts.test.tolist() != load_task("iris", seed=0).parts.test.tolist()
    text = load_task("shakespeare")
    assert isinstance(text, TextTask)


def test_a_file_of_a_bundled_name_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "iris").write_text("a text, not flowers")
    assert detect("iris").reads == "text"


def test_shakespeare_is_the_text_that_the_notice_describes():
    from importlib.resources import files

    text = sets()["shakespeare"].read()
    assert len(text) == 1_158_276 and text.isascii() and text.startswith("HAMLET, PRINCE OF DENMARK")
    assert text.count("by William Shakespeare") == 9 and "gutenberg" not in text.lower()
    assert "public domain" in (files("variorum.data") / "texts" / "NOTICE").read_text()
