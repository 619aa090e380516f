"""Which tensor of a foreign checkpoint is which tensor of ours: a table of rules, read in both directions.

A rule's names are patterns: ``{i}`` stands for one component between dots, the same on both sides. A rule renames a
tensor, joins several of theirs into one of ours or cuts one of theirs into several of ours (along the first axis), and
may transpose matrices. There is nothing else: what needs more is a different model, and is refused by its family.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from variorum.core import VariorumError
from variorum.core.errors import nearest


@dataclass(frozen=True)
class Rule:
    """``ours`` is ``theirs``. At most one side is a tuple: its tensors one after the other along the first axis.

    shares: relative lengths of the tuple's tensors, equal unless given.
    None among ``theirs``: a share of zeros that their layout has no tensor for (a projection without bias).
    transposed: their matrices are (in, out) where ours are (out, in); vectors are as they are.
    axes: leading axes of length 1 that their tensor has and ours has not.
    """

    ours: str | tuple[str, ...]
    theirs: str | tuple[str | None, ...]
    shares: tuple[int, ...] | None = None
    transposed: bool = False
    axes: int = 0


@dataclass(frozen=True)
class Unused:
    """Tensors of theirs, by pattern, that are no part of the model, and why."""

    theirs: str
    reason: str


@dataclass(frozen=True)
class Copy:
    """A tensor that some checkpoints hold a second time under this name: left out after it was found equal."""

    theirs: str
    of: str


@dataclass(frozen=True)
class Naming:
    """All rules of one model. A tensor of either side that nothing names is an error that names it.

    prefix: what their models with a head put before the names of the ``backbone`` rules; it may be there or not when
    read, and ``prefixed`` says whether it is written.
    """

    backbone: tuple[Rule, ...]
    head: tuple[Rule, ...] = ()
    unused: tuple[Unused, ...] = ()
    copies: tuple[Copy, ...] = ()
    prefix: str = ""
    prefixed: bool = False

    def to_ours(self, theirs: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
        """The tensors named and shaped as in ``shapes``, made of theirs; one tensor on both sides is not copied."""
        left = self._bare(theirs)
        pairings = _pairings(self.backbone + self.head, shapes)
        used = {name for pairing in pairings for name in pairing.theirs if name is not None}
        rest = [name for name in left if name not in used and not self._left_out(name, left)]
        _all_mapped([name for name in used if name not in left], rest)
        found: dict[str, Tensor] = {}
        for pairing in pairings:
            found.update(pairing.ours_of([None if n is None else left[n] for n in pairing.theirs], shapes))
        return found

    def to_theirs(self, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Their tensors, made of ours; ``to_ours`` gives the same bits back."""
        _pairings(self.backbone + self.head, ours)
        found: dict[str, Tensor] = {}
        for rules, prefix in ((self.backbone, f"{self.prefix}." if self.prefixed else ""), (self.head, "")):
            for pairing in _pairings(rules, ours, partial=True):
                found.update({prefix + name: tensor for name, tensor in pairing.theirs_of(ours).items()})
        return found

    def _bare(self, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Their tensors without the prefix."""
        start = f"{self.prefix}." if self.prefix else ""
        bare: dict[str, Tensor] = {}
        for name, tensor in theirs.items():
            short = name.removeprefix(start)
            if short in bare:
                raise VariorumError(
                    "checkpoint",
                    expected="each tensor once",
                    found=f"{short!r} with and without {start!r}",
                    do="Keep one of the two.",
                )
            bare[short] = tensor
        return bare

    def _left_out(self, name: str, theirs: Mapping[str, Tensor]) -> bool:
        if any(_match(u.theirs, name) is not None for u in self.unused):
            return True
        for copy in self.copies:
            if name == copy.theirs:
                if copy.of in theirs and not torch.equal(theirs[name], theirs[copy.of]):
                    raise VariorumError(
                        f"tensor {name!r}",
                        expected=f"the same values as {copy.of!r}, which it is tied to",
                        found="others",
                        do='Say "tie_word_embeddings": false in config.json.',
                    )
                return copy.of in theirs
        return False


@dataclass(frozen=True)
class _Pairing:
    """A rule with its patterns filled in: names that go together."""

    rule: Rule
    ours: tuple[str, ...]
    theirs: tuple[str | None, ...]

    def ours_of(self, theirs: list[Tensor | None], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
        given = [None if t is None else self._turned(t, name) for t, name in zip(theirs, self.theirs, strict=True)]
        whole = given[0] if len(given) == 1 and given[0] is not None else self._join(given)
        sizes = self._sizes(whole, len(self.ours))
        found = dict(zip(self.ours, whole.split(sizes), strict=True))
        for name, tensor in found.items():
            if tensor.shape != shapes[name]:
                raise VariorumError(
                    f"tensor {' + '.join(map(str, self.theirs))}",
                    expected=f"shape {tuple(shapes[name])} for {name}",
                    found=f"{tuple(tensor.shape)}",
                    do="config.json does not belong to these weights.",
                )
        return found

    def theirs_of(self, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
        whole = torch.cat([ours[name] for name in self.ours]) if len(self.ours) > 1 else ours[self.ours[0]]
        found: dict[str, Tensor] = {}
        for name, part in zip(self.theirs, whole.split(self._sizes(whole, len(self.theirs))), strict=True):
            if name is not None:
                turned = part.T if self.rule.transposed and part.dim() == 2 else part
                found[name] = turned.reshape(*[1] * self.rule.axes, *turned.shape).contiguous()
            elif part.count_nonzero():
                raise VariorumError(
                    f"tensor {self.ours[0]}",
                    expected="zeros where the foreign layout has no tensor",
                    found="other values",
                    do="This model cannot be written in this layout.",
                )
        return found

    def _turned(self, tensor: Tensor, name: str | None) -> Tensor:
        if any(size != 1 for size in tensor.shape[: self.rule.axes]):
            raise VariorumError(
                f"tensor {name!r}",
                expected=f"{self.rule.axes} leading axes of length 1",
                found=f"shape {tuple(tensor.shape)}",
                do="config.json does not belong to these weights.",
            )
        tensor = tensor.reshape(tensor.shape[self.rule.axes :])
        return tensor.T.contiguous() if self.rule.transposed and tensor.dim() == 2 else tensor

    def _join(self, given: list[Tensor | None]) -> Tensor:
        real = [t for t in given if t is not None]
        if len({t.dtype for t in real}) > 1 or len({t.shape[1:] for t in real}) > 1:
            raise VariorumError(
                f"tensors {', '.join(map(str, self.theirs))}",
                expected="one dtype and width",
                found=", ".join(f"{t.dtype} {tuple(t.shape)}" for t in real),
                do="Convert them alike.",
            )
        shares = self.rule.shares or (1,) * len(given)
        unit = next(len(t) // share for t, share in zip(given, shares, strict=True) if t is not None)
        zeros = [real[0].new_zeros(unit * share, *real[0].shape[1:]) for share in shares]
        return torch.cat([z if t is None else t for t, z in zip(given, zeros, strict=True)])

    def _sizes(self, whole: Tensor, count: int) -> list[int]:
        shares = self.rule.shares if self.rule.shares and len(self.rule.shares) == count else (1,) * count
        if whole.shape[0] % sum(shares):
            raise VariorumError(
                f"tensor {' + '.join(self.ours)}",
                expected=f"a length that {sum(shares)} shares divide",
                found=str(tuple(whole.shape)),
                do="config.json does not belong to these weights.",
            )
        return [whole.shape[0] // sum(shares) * share for share in shares]


def _pairings(rules: Iterable[Rule], ours: Iterable[str], *, partial: bool = False) -> list[_Pairing]:
    """The rules filled in for our names; a name that no rule, or more than one, names is an error."""
    rules = tuple(rules)
    found: dict[tuple[str, ...], _Pairing] = {}
    for name in ours:
        matches = [
            (rule, filled) for rule in rules for p in _each(rule.ours) if (filled := _match(str(p), name)) is not None
        ]
        if len(matches) > 1 or not (matches or partial):
            raise VariorumError(
                f"tensor {name!r} of the model",
                expected="exactly one rule that maps it to the foreign layout",
                found=f"{len(matches)}",
                do="The family does not know this part: choose another family, or add a rule.",
            )
        for rule, filled in matches:
            names = tuple(str(p).format(**filled) for p in _each(rule.ours))
            theirs = tuple(None if p is None else p.format(**filled) for p in _each(rule.theirs))
            found[names] = _Pairing(rule, names, theirs)
    return list(found.values())


def _all_mapped(missing: list[str], rest: list[str]) -> None:
    """Raise VariorumError that names tensors needed but not there, or there but not needed."""
    for names, expected, other in (
        (missing, "every tensor of the model in the checkpoint", rest),
        (rest, "a use for every tensor of the checkpoint", missing),
    ):
        if names:
            shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
            verb = "missing" if names is missing else "unmapped"
            raise VariorumError(
                "checkpoint",
                expected=expected,
                found=f"{verb}: {shown}",
                do=nearest(names[0], other) if other else "Check model_type and architectures in config.json.",
            )


def _each(names: str | tuple[str | None, ...]) -> tuple[str | None, ...]:
    return names if isinstance(names, tuple) else (names,)


def _match(pattern: str, name: str) -> dict[str, str] | None:
    found = _compiled(pattern).fullmatch(name)
    return found.groupdict() if found else None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"\{(\w+)\}", pattern)
    return re.compile("".join(re.escape(p) if k % 2 == 0 else rf"(?P<{p}>[^.]+)" for k, p in enumerate(pieces)))
