"""The catalogue says of each row only what its tests have shown."""

import json
from pathlib import Path

import pytest

from house import register
from house.register import Mark, Seen, merged
from variorum.compare.catalogue import page
from variorum.core import entries, rows

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def marks() -> list[Mark]:
    return register.marks()


def test_the_edition_has_247_rows() -> None:
    assert len(rows()) == 247
    assert all(row.requires > 0 and row.essence and row.claim for row in rows().values())


def test_marks_name_requirements_that_exist(marks: list[Mark]) -> None:
    wrong = [m for m in marks if m.slug not in rows() or not 0 <= m.index < rows()[m.slug].requires]
    assert not wrong


def test_a_row_that_works_has_a_test_for_every_requirement(marks: list[Mark]) -> None:
    """Statically: the source of the tests, not what a run once wrote down."""
    held: dict[str, set[int]] = {}
    for mark in marks:
        held.setdefault(mark.slug, set()).add(mark.index)
    short = {
        slug: sorted(set(range(row.requires)) - held.get(slug, set()))
        for slug, row in rows().items()
        if row.state == "works" and slug in entries()
    }
    assert not {slug: missing for slug, missing in short.items() if missing}


def test_the_register_names_only_tests_that_exist_and_meet_what_they_are_marked_with(marks: list[Mark]) -> None:
    exist = {(mark.test, mark.slug, mark.index) for mark in marks}
    told = json.loads(register.REGISTER.read_text("utf-8"))
    gone = [(c["test"], slug, i) for slug, checks in told.items() for c in checks for i in c["meets"]
            if (c["test"], slug, i) not in exist]  # fmt: skip
    assert not gone, "run `pytest --record` on the tests of these rows"


def test_entries_are_bound_to_rows() -> None:
    assert not {slug for slug, entry in entries().items() if entry.function.__module__.startswith("variorum.")} - set(
        rows()
    )


def test_the_page_is_current() -> None:
    assert (ROOT / "CATALOGUE.md").read_text("utf-8") == page(), "run `make catalogue`"


# -- the register itself -----------------------------------------------------------------------------------------------
def test_only_tests_that_passed_in_all_their_cases_are_recorded() -> None:
    seen = [
        Seen("t::a", "passed", "A.", (("cct", 0),)),
        Seen("t::a", "failed", "A.", (("cct", 0),)),
        Seen("t::b", "passed", "B.", (("cct", 2), ("cct", 1))),
        Seen("t::b", "passed", "B.", (("cct", 2), ("cct", 1))),
        Seen("t::c", "skipped", "C.", (("cct", 3),)),
    ]
    after = merged({}, seen, date="2026-01-02", exist={"t::a", "t::b", "t::c"})
    assert after == {"cct": [{"test": "t::b", "says": "B.", "meets": [1, 2], "date": "2026-01-02"}]}


def test_a_failure_strikes_out_a_skip_keeps_and_what_is_gone_goes() -> None:
    def entry(test: str) -> dict[str, object]:
        return {"test": test, "says": "It.", "meets": [0], "date": "2026-01-01"}

    before = {"cct": [entry("t::a"), entry("t::b"), entry("t::c"), entry("t::gone")]}
    seen = [Seen("t::a", "failed", "It.", (("cct", 0),)), Seen("t::b", "skipped", "It.", (("cct", 0),))]
    after = merged(before, seen, date="2026-01-02", exist={"t::a", "t::b", "t::c"})
    assert [c["test"] for c in after["cct"]] == ["t::b", "t::c"]
    assert {c["date"] for c in after["cct"]} == {"2026-01-01"}


SOURCE = '''
import pytest
SLUG = "cct"

@pytest.mark.row(SLUG, 1)
@pytest.mark.parametrize("n", [1, 2])
def test_one(n):
    """It is so."""
    assert n < LIMIT

class TestMore:
    @pytest.mark.row("cct", 0)
    def test_two(self):
        pass
'''


def test_marks_are_read_from_source(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(SOURCE)
    name = f"{tmp_path.name}/test_it.py"
    assert register.marks(tmp_path) == [
        Mark(f"{name}::test_one", "cct", 1),
        Mark(f"{name}::TestMore::test_two", "cct", 0),
    ]


@pytest.mark.parametrize(("limit", "recorded"), [(3, True), (2, False)])
def test_a_run_with_record_writes_what_passed(pytester: pytest.Pytester, limit: int, recorded: bool) -> None:
    told = pytester.path / "checked.json"
    told.write_text("{}")
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text("utf-8"))
    pytester.makeini("[pytest]\nmarkers = row(slug, index): a row\n")
    pytester.makepyfile(test_it=SOURCE.replace("LIMIT", str(limit)))
    run = pytester.runpytest_inprocess("--record", f"--register={told}", "-p", "no:cacheprovider")
    run.assert_outcomes(passed=3 if recorded else 2, failed=0 if recorded else 1)
    found = {check["test"].split("::")[-1]: check["meets"] for check in json.loads(told.read_text())["cct"]}
    assert found.get("test_one") == ([1] if recorded else None)
    assert found["test_two"] == [0]
