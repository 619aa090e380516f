"""Limits are read as people write them, broken ones are said, and the units stay the user's."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.compare.limits import MIB, Limits
from variorum.core import VariorumError


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("1ms", 1), ("0.5 s", 500), ("800us", 0.8), ("800µs", 0.8), ("800 μS", 0.8), ("3MS", 3), (" 2.5 ", 2.5), (4, 4),
     ("1e-1 ms", 0.1), ("2e+1", 20), (".5s", 500), ("250ns", 0.00025)],
)  # fmt: skip
def test_latencies_are_read(text: str | float, milliseconds: float) -> None:
    limits = Limits.parse(latency=text)
    assert limits.latency_ms == pytest.approx(milliseconds)
    assert limits.memory_mb is None and limits.size_bytes is None


@pytest.mark.parametrize(
    ("text", "size"),
    [("64MB", 64e6), ("64 MiB", 2**26), ("2 kB", 2000), ("2KiB", 2048), ("1.5GB", 1.5e9), ("1 gib", 2**30), (64, 64e6),
     ("0.5", 5e5), ("700 B", 700), ("9 bytes", 9)],
)  # fmt: skip
def test_sizes_are_read(text: str | float, size: float) -> None:
    limits = Limits.parse(memory=text, size=text)
    assert limits.memory_mb == pytest.approx(size / MIB)
    assert limits.size_bytes == size and isinstance(limits.size_bytes, int)


@pytest.mark.parametrize("text", ["", "quick", "ms", "1 m", "1 MB ms", "-1ms", "0", "0.0ms", "nan", "inf", "-inf",
                                  "1,5ms", "1e999", "1e-999", "1 MB", "0x10", "1_000", "٣ms", float("nan"),
                                  float("inf"), -2, 0, True])  # fmt: skip
def test_what_is_no_latency_is_an_error(text: str | float) -> None:
    with pytest.raises(VariorumError, match=r"^latency: expected a number above 0 with a unit .*Write it like 1ms"):
        Limits.parse(latency=text)


@pytest.mark.parametrize("text", ["1ms", "1 TBx", "-5MB", "0B", "NaN MB", "1e400GB"])
@pytest.mark.parametrize("name", ["memory", "size"])
def test_what_is_no_size_is_an_error(text: str, name: str) -> None:
    with pytest.raises(VariorumError, match=f"^{name}: expected .*MiB|^{name}: expected .*mib"):
        Limits.parse(**{name: text})


def test_less_than_a_byte_is_no_size() -> None:
    with pytest.raises(VariorumError, match="size"):
        Limits.parse(size="0.4 B")


@given(st.text(max_size=12))
def test_any_text_is_a_limit_or_a_clear_error(text: str) -> None:
    try:
        limits = Limits.parse(text)
    except VariorumError as error:
        assert repr(text) in str(error)
    else:
        assert limits.latency_ms is not None and 0 < limits.latency_ms < float("inf")


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf")])
def test_a_limit_made_by_hand_is_checked_too(value: float) -> None:
    with pytest.raises(VariorumError, match="limit latency_ms"):
        Limits(latency_ms=value)


def test_none_set_is_false() -> None:
    assert not Limits() and not Limits.parse(None, None, None)
    assert Limits(size_bytes=1) and Limits(latency_ms=0.1) and Limits(memory_mb=1.0)


def test_all_broken_limits_are_said_and_no_other() -> None:
    limits = Limits.parse("1ms", "64 MB", "2MB")
    within = {"latency_ms": 1.0, "memory_mb": 61.0, "size_bytes": 2_000_000}
    assert limits.over(within) is None, "at the limit is within it"
    assert limits.over({**within, "latency_ms": 1.8}) == "1.8 ms a prediction, over the limit of 1 ms"
    assert limits.over({**within, "size_bytes": 3_140_000}) == "3.1 MB on disk, over the limit of 2 MB"
    every = {"latency_ms": 12.34, "memory_mb": 80.0, "size_bytes": 2_500_000_000}
    assert limits.over(every) == (
        "12 ms a prediction, over the limit of 1 ms; 84 MB of memory, over the limit of 64 MB; "
        "2500 MB on disk, over the limit of 2 MB"
    )
    assert limits.over({"latency_ms": None, "size_bytes": None}) is None, "what is not known breaks none"
    assert Limits().over(every) is None


def test_a_limit_is_said_in_the_unit_that_it_was_given_in() -> None:
    assert Limits.parse(memory="64 MiB").over({"memory_mb": 70.0}) == "70 MiB of memory, over the limit of 64 MiB"
    assert Limits.parse(size="2 kB").over({"size_bytes": 9000}) == "9 kB on disk, over the limit of 2 kB"
    assert Limits.parse(size="100 B").over({"size_bytes": 101}) == "101 B on disk, over the limit of 100 B"


@given(st.floats(1e-6, 1e6), st.floats(1.0000001, 1e6))
def test_what_is_found_is_never_said_to_be_the_limit_itself(limit: float, times: float) -> None:
    said = Limits(latency_ms=limit).over({"latency_ms": limit * times})
    assert said is not None
    found, most = said.split(" ms a prediction, over the limit of ")
    assert float(found) > float(most.removesuffix(" ms"))


def test_limits_go_to_json_and_back() -> None:
    for limits in (Limits(), Limits.parse("800us", "64MB", "2kB")):
        assert Limits.from_dict(json.loads(json.dumps(limits.to_dict()))) == limits
