"""A system is one short file, and no shared file knows its name."""

import pytest

from variorum.compare.shares import MOST_LINES, naming, parts_of, shares, table
from variorum.core import entries


@pytest.mark.parametrize("slug", sorted(entries()))
def test_a_system_is_one_short_file_and_nothing_elsewhere(slug: str) -> None:
    assert entries()[slug].lines <= MOST_LINES
    assert naming(slug) == []


def test_the_table_has_a_line_for_each_system_and_most_parts_are_shared() -> None:
    found = shares()
    assert len(table(found).splitlines()) == 2 + len(entries())
    assert {"Stack", "Block", "Attention"} <= {part for share in found for part in share.shared}


def test_parts_that_parts_make_for_themselves_are_counted() -> None:
    assert "ShortConv" in parts_of(entries()["deltanet"])
