"""Joules are read from Linux's counters, over the end of a counter's range, and are unknown rather than guessed."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from variorum.compare.energy import Energy, Meter, millijoules


def zone(root: Path, name: str, label: str, *, used: int, most: int = 1_000_000) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(label + "\n")
    (folder / "energy_uj").write_text(f"{used}\n")
    (folder / "max_energy_range_uj").write_text(f"{most}\n")
    return folder / "energy_uj"


def test_packages_are_summed_and_nothing_is_counted_twice(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", used=500)
    second = zone(tmp_path, "intel-rapl:1", "package-1", used=0)
    inner = zone(tmp_path, "intel-rapl:0:0", "core", used=0)
    around = zone(tmp_path, "intel-rapl:2", "psys", used=0)
    (tmp_path / "intel-rapl").mkdir()
    meter = Meter(powercap=tmp_path)
    assert meter.read() == 0.0
    for file, now in ((first, 300_500), (second, 200_000), (inner, 90_000), (around, 900_000)):
        file.write_text(f"{now}\n")
    assert meter.read() == pytest.approx(0.5)


def test_a_counter_that_begins_again_goes_on(tmp_path: Path) -> None:
    file = zone(tmp_path, "intel-rapl:0", "package-0", used=900_000)
    meter = Meter(powercap=tmp_path)
    for now, joules in ((950_000, 0.05), (100_000, 0.2), (700_000, 0.8), (50_000, 1.15)):
        file.write_text(f"{now}\n")
        assert meter.read() == pytest.approx(joules)


def test_a_block_counts_what_is_used_in_it(tmp_path: Path) -> None:
    file = zone(tmp_path, "intel-rapl:0", "package-0", used=0)
    meter = Meter(powercap=tmp_path)
    file.write_text("400000")
    with Energy(meter=meter) as used:
        file.write_text("650000")
    file.write_text("999999")
    assert used.joules == pytest.approx(0.25)


def test_without_counters_nothing_is_known(tmp_path: Path) -> None:
    assert Meter(powercap=tmp_path).read() is None
    assert Meter(powercap=tmp_path / "not there").read() is None
    with Energy(meter=Meter(powercap=tmp_path)) as used:
        pass
    assert used.joules is None
    assert millijoules(nn.Linear(2, 2), {"input": torch.zeros(1, 2)}, meter=Meter(powercap=tmp_path)) is None


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="the administrator may read everything")
def test_a_counter_that_only_the_administrator_may_read_is_unknown(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", used=0)
    zone(tmp_path, "intel-rapl:1", "package-1", used=0).chmod(0)
    assert Meter(powercap=tmp_path).read() is None, "half of the sockets is not the machine"


def test_a_counter_that_cannot_be_read_makes_all_unknown(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", used=0)
    gone = zone(tmp_path, "intel-rapl:1", "package-1", used=0)
    meter = Meter(powercap=tmp_path)
    assert meter.read() == 0.0
    gone.unlink()
    assert meter.read() is None
    gone.mkdir()
    assert meter.read() is None


def test_millijoules_are_those_of_one_call(tmp_path: Path) -> None:
    file = zone(tmp_path, "intel-rapl:0", "package-0", used=0, most=10**12)

    class Burning(nn.Module):
        """Every call takes 3000 microjoules."""

        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            Burning.calls += 1
            file.write_text(f"{3000 * Burning.calls}")
            time.sleep(0.002)
            return x

    found = millijoules(Burning(), {"x": torch.zeros(1)}, seconds=0.05, meter=Meter(powercap=tmp_path))
    assert found == pytest.approx(3.0)
    assert Burning.calls > 5


@pytest.mark.parametrize("counts", [True, False])
def test_devices_that_torch_can_use_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: bool) -> None:
    file = zone(tmp_path, "intel-rapl:0", "package-0", used=0)
    used = {"a": 5000, "b": 7000}  # millijoules

    class Refused(Exception):
        pass

    def told(handle: str) -> int:
        if not counts:
            raise Refused
        return used[handle]

    library = SimpleNamespace(
        nvmlInit=lambda: None, nvmlDeviceGetCount=lambda: 2, nvmlDeviceGetHandleByIndex=lambda number: "ab"[number],
        nvmlDeviceGetTotalEnergyConsumption=told, NVMLError=Refused,
    )  # fmt: skip
    monkeypatch.setattr("variorum.compare.energy.find_spec", lambda name: library)
    monkeypatch.setattr("variorum.compare.energy.import_module", lambda name: library)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    meter = Meter(powercap=tmp_path)
    used["a"], used["b"] = 6500, 7250
    file.write_text("125000")
    assert meter.read() == (pytest.approx(1.5 + 0.25 + 0.125) if counts else None)
