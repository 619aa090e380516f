"""What a system differs in from the plain Transformer of the same form, width and depth."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from variorum.core import Change, Registered, Spec, diff, find_entry
from variorum.core.registry import signature

PLAIN = "formal-algorithms-transformers"
INDEX = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True)
class Difference:
    """plain: the Spec that is changed.     changes: what to change in it.     added, left_out: names of parts."""

    plain: Spec[Any]
    changes: tuple[Change, ...]
    added: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def summary(self) -> str:
        """Which parts come and go, in one line."""
        if not self.changes:
            return "the plain Transformer itself"
        said = [f"with {', '.join(self.added)}"] if self.added else []
        said += [f"without {', '.join(self.left_out)}"] if self.left_out else []
        return "; ".join(said) or "the same parts with other settings"


def difference(spec: Spec[Any]) -> Difference:
    """The difference of a spec from its plain counterpart."""
    plain = counterpart(spec)
    mine, theirs = parts(spec), parts(plain)
    return Difference(plain, tuple(diff(plain, spec)), tuple(sorted(mine - theirs)), tuple(sorted(theirs - mine)))


def changes(found: Iterable[Change]) -> list[dict[str, str]]:
    """Changes as texts: where, before, after. One made alike in several blocks is told once: ``blocks[0, 1]``."""
    told: dict[tuple[str, str, str], list[str]] = {}
    for change in found:
        path, _, rest = str(change).partition(": ")
        before, _, after = rest.partition(" -> ")
        numbers = INDEX.findall(path)
        told.setdefault((INDEX.sub("[]", path, count=1), before, after), []).extend(numbers[:1])
    return [
        {
            "path": path.replace("[]", f"[{', '.join(numbers)}]", 1) if numbers else path,
            "before": before,
            "after": after,
        }
        for (path, before, after), numbers in told.items()
    ]


def counterpart(spec: Spec[Any]) -> Spec[Any]:
    """The plain Transformer as encoder-decoder, decoder (if the spec's mixers look back only) or encoder."""
    entry = find_entry(PLAIN)
    form = "encoder-decoder" if {"encoder", "decoder"} <= _names(spec) else "decoder" if _causal(spec) else "encoder"
    # The arguments of the published decoder stand in for whatever the spec does not have.
    args = {**next(iter(entry.sizes.values())), **sizes(spec), "form": form}
    return entry.spec(**args)


def sizes(spec: Spec[Any]) -> dict[str, int]:
    """Width, depth, heads and length of a spec, as far as it has one of each."""
    found: dict[str, int] = {}
    for _, node in spec.walk():
        given = dict(node.args)
        for name in ("dim", "heads", "length"):
            if isinstance(given.get(name), int):
                found.setdefault(name, given[name])
        if isinstance(given.get("blocks"), tuple):
            found.setdefault("depth", len(given["blocks"]))
    return found


def parts(spec: Spec[Any]) -> set[str]:
    """Names of all parts of a spec, those that stand as defaults too."""
    found = {spec.part}
    owner: type[Registered] = spec.cls
    for name in signature(owner):
        if name not in spec.open:
            found |= _parts_in(spec[name])
    return found


def _parts_in(value: Any) -> set[str]:
    if isinstance(value, Spec):
        return parts(value)
    return set().union(*map(_parts_in, value)) if isinstance(value, tuple) else set()


def _names(spec: Spec[Any]) -> set[str]:
    return {name for name, _ in spec.args}


def _causal(spec: Spec[Any]) -> bool:
    """Do the blocks of a model look back only? Asked of the traits of the first block that says so."""
    for _, node in spec.walk():
        for value in dict(node.args).values():
            if isinstance(value, tuple) and value and isinstance(value[0], Spec) and "mixer" in _names(value[0]):
                with torch.device("meta"):
                    return bool(value[0].build(dim=sizes(spec).get("dim", 64)).traits.causal)
    return False
