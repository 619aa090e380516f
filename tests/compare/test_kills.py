"""Whatever is killed, and whenever: no finished trial is lost, and what comes out is what comes out undisturbed."""

import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import psutil
import pytest

from compare.commands import results, start, written

KILLS = 50


@pytest.mark.slow
def test_fifty_kills_change_nothing(tmp_path: Path) -> None:
    """kill -9 of the command itself or of any process below it, at random moments; then the same command again."""
    data, undisturbed = written(tmp_path / "rows.csv"), tmp_path / "undisturbed"
    began = time.monotonic()
    assert start(data, undisturbed).wait(900) == 0
    lasts = time.monotonic() - began

    draw, kills, runs = random.Random(7), 0, 0
    while kills < KILLS:
        disturbed, runs = tmp_path / f"disturbed {runs}", runs + 1
        running = start(data, disturbed)
        while True:
            try:
                if running.wait(draw.uniform(0.0, lasts / 4) if kills < KILLS else 900) == 0:
                    break
                running = start(data, disturbed)  # the command itself was killed
                continue
            except psutil.TimeoutExpired:
                pass
            # The command itself every third time: what is below it is started again at once, it is not.
            victim = running if draw.random() < 1 / 3 else draw.choice([running, *running.children(recursive=True)])
            with suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGKILL)
                kills += 1
        pd.testing.assert_frame_equal(results(disturbed), results(undisturbed))
