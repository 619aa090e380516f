"""The laptop sizes of every system: all can be built from the facts of a task of their kind, and no two are alike."""

from functools import cache
from typing import Any

import pytest
import torch

from samples.sources import SOURCES
from variorum.core import VariorumError, entries, find_entry
from variorum.data.readers.reader import load_task
from variorum.data.spoken_text import SpokenText

FITTED = [(slug, data) for slug, entry in entries().items() for data in entry.fits]


@cache
def facts(data: str) -> dict[str, Any]:
    """What a task of this kind tells."""
    return SpokenText().facts if data == "speech" else load_task(SOURCES[data]).facts


def parameters(slug: str, data: str, size: int) -> int:
    """How many a system has in one of its sizes."""
    spec = find_entry(slug).fit(data, size).fill(**facts(data))
    with torch.device("meta"):
        model = spec.build()
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("slug", "data"), FITTED)
def test_every_laptop_size_builds_from_the_facts_of_a_task(slug: str, data: str) -> None:
    sizes = range(len(find_entry(slug).fits[data]))
    assert all(parameters(slug, data, size) > 0 for size in sizes)
    with pytest.raises(IndexError):
        find_entry(slug).fit(data, len(sizes))


@pytest.mark.parametrize(("slug", "data"), FITTED)
def test_there_are_two_to_four_sizes_and_no_two_are_alike(slug: str, data: str) -> None:
    specs = [find_entry(slug).fit(data, size) for size in range(len(find_entry(slug).fits[data]))]
    assert 2 <= len(specs) <= 4
    assert len(set(specs)) == len(specs)


@pytest.mark.parametrize(("slug", "data"), FITTED)
def test_the_size_to_begin_with_is_not_the_largest(slug: str, data: str) -> None:
    """A search that has seconds only must get somewhere with it; what asks for longer comes later."""
    counts = [parameters(slug, data, size) for size in range(len(find_entry(slug).fits[data]))]
    assert counts[0] < max(counts), f"{slug} on {data} begins with the largest of {counts}"


def test_a_size_that_does_not_build_is_not_passed_over() -> None:
    """What the first test asks is not granted to any arguments."""
    with pytest.raises(VariorumError):
        find_entry("cct").fit("images", heads=5).fill(**facts("images")).build()
