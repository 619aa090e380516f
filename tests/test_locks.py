"""The locks give what is installed, and can never bring in a second torch or an accelerator's libraries."""

import importlib.util
import tomllib
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def lock() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lock", ROOT / "tools" / "lock.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert all("==" in line for line in lines)
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def test_what_is_installed_is_what_is_locked(lock: ModuleType) -> None:
    assert lock.unlocked() == []


def test_a_wrong_pin_is_found(lock: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tmp_path / "requirements.lock"
    numpy = f"numpy=={metadata.version('numpy')}"
    wrong.write_text(lock.LOCK.read_text().replace(numpy, "numpy==0.0.1"))
    monkeypatch.setattr(lock, "LOCK", wrong)
    assert lock.unlocked() == [f"requirements.lock: {numpy} is installed, but the file does not say so"]


def test_every_declared_requirement_is_locked_within_its_range(lock: ModuleType) -> None:
    locked = pins(lock.LOCK)
    outside = [str(r) for r in lock.declared() if locked.get(canonicalize_name(r.name)) not in r.specifier]
    assert outside == []


def test_every_locked_version_admits_the_oldest_python_that_is_promised(lock: ModuleType) -> None:
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    locked = pins(lock.LOCK) | pins(lock.PARITY)
    installed = [found for found in metadata.distributions() if canonicalize_name(found.name) in locked]
    assert installed
    wanted = {found.name: SpecifierSet(found.metadata["Requires-Python"] or "") for found in installed}
    refusing = {name: str(versions) for name, versions in wanted.items() if f"{oldest}.0" not in versions}
    assert refusing == {}


def test_nothing_locked_brings_another_torch(lock: ModuleType) -> None:
    locked = pins(lock.LOCK) | pins(lock.PARITY)
    assert [name for name in locked if lock.is_barred(name)] == []
    assert locked["torch"] == Version(metadata.version("torch")).public == "2.13.0"


def test_what_is_installed_without_dependencies_lacks_only_known_ones(lock: ModuleType) -> None:
    locked = pins(lock.LOCK) | pins(lock.PARITY)
    needed = [Requirement(line) for name in pins(lock.PARITY) for line in metadata.requires(name) or []]
    lacking = {canonicalize_name(r.name) for r in needed if r.marker is None} - locked.keys()
    assert lacking == {"fairscale", "sentence-transformers", "torchvision"}
