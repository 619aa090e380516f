"""Several machines at one comparison: a database that they share, one of them killed; a cluster of Ray."""

import signal
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from compare.commands import results, start, written
from compare.server import running


def wait_for_one_finished(out: Path, *commands: psutil.Popen) -> None:
    while all(command.is_running() and command.status() != psutil.STATUS_ZOMBIE for command in commands):
        if (out / "results.csv").exists() and "finished" in (out / "results.csv").read_text():
            return
        time.sleep(0.2)
    raise AssertionError(out.with_suffix(".log").read_text())


@pytest.mark.slow
def test_two_share_a_database_and_one_is_killed_half_way(tmp_path: Path) -> None:
    data, alone, shared = written(tmp_path / "rows.csv"), tmp_path / "alone", tmp_path / "shared"
    assert start(data, alone, "--workers", "1").wait(900) == 0
    with running(tmp_path) as server:
        both = [start(data, shared, "--workers", "1", "--storage", server.url) for _ in range(2)]
        wait_for_one_finished(shared, *both)
        both[0].send_signal(signal.SIGKILL)
        assert both[1].wait(900) == 0, shared.with_suffix(".log").read_text()
    pd.testing.assert_frame_equal(results(shared), results(alone))


@pytest.mark.slow
def test_a_database_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    data, alone, shared = written(tmp_path / "rows.csv"), tmp_path / "alone", tmp_path / "shared"
    assert start(data, alone).wait(900) == 0
    with running(tmp_path) as server:
        one = start(data, shared, "--storage", server.url)
        wait_for_one_finished(shared, one)
        server.stop()
        time.sleep(5)
        server.start()
        assert one.wait(900) == 0, shared.with_suffix(".log").read_text()
    pd.testing.assert_frame_equal(results(shared), results(alone))


@pytest.mark.slow
def test_a_local_cluster_of_ray_finds_the_same(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    data, alone, cluster = written(tmp_path / "rows.csv"), tmp_path / "alone", tmp_path / "cluster"
    assert start(data, alone).wait(900) == 0
    assert start(data, cluster, "--ray", "local", "--workers", "2").wait(900) == 0, cluster.with_suffix(
        ".log"
    ).read_text()
    pd.testing.assert_frame_equal(results(cluster), results(alone))
