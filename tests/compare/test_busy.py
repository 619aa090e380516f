"""Seconds of work are counted once, however many are at it."""

import time
from contextlib import ExitStack

import pytest

from variorum.compare.busy import Busy


def test_those_at_work_at_a_time_count_once() -> None:
    busy = Busy()
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(busy.somebody()) for _ in range(3))
        time.sleep(0.05)
        assert busy.seconds == 0.0, "nobody has begun"
        first()
        first()
        time.sleep(0.05)
        second()
        time.sleep(0.05)
        del third
    found = busy.seconds
    assert 0.1 <= found < 0.15
    time.sleep(0.05)
    assert busy.seconds == pytest.approx(found), "it is over"
    with busy.somebody() as begin:
        begin()
        time.sleep(0.02)
    assert busy.seconds >= found + 0.02
