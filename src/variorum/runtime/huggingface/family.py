"""Family: how one ``model_type`` of Hugging Face is one of our Specs, and which tensor is which."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from variorum.core import Registered, Skeleton, Spec, VariorumError, registered
from variorum.core.errors import nearest
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.mapping import Naming


class Family(Registered, abstract=True):
    """One file a family: its config.json as a Spec, the way back, and its table of names.

    model_type: as config.json names it.    harmless: keys of its config.json that change nothing in our model, each
    with the reason; those that are harmless everywhere stand in ``config.HARMLESS``.
    """

    kind: ClassVar[str] = "family"
    model_type: ClassVar[str]
    harmless: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def to_spec(self, config: Config) -> Spec[Skeleton]:
        """The model that config.json describes; raises VariorumError for what it asks that no part of ours computes."""

    @abstractmethod
    def to_config(self, spec: Spec[Skeleton]) -> dict[str, Any]:
        """The config.json of a Spec of this family's shape: ``to_spec`` of it is the Spec again."""

    @abstractmethod
    def naming(self, spec: Spec[Skeleton]) -> Naming:
        """Which tensor of theirs is which of ours, for a model of this Spec."""


def families() -> dict[str, Family]:
    """All families by model_type."""
    return {cls.model_type: cls() for cls in registered(Family).values() if issubclass(cls, Family)}


def find_family(model_type: str) -> Family:
    """The family of a model_type; an unknown one raises VariorumError."""
    known = families()
    if model_type not in known:
        raise VariorumError(
            "model_type", expected="a family that can be read", found=repr(model_type), do=nearest(model_type, known)
        )
    return known[model_type]


def family_of(spec: Spec[Skeleton]) -> Family:
    """The one family that can write a Spec. None, or several, raise VariorumError that names them."""
    able = [family for family in families().values() if writes(family, spec)]
    if len(able) != 1:
        names = ", ".join(family.model_type for family in able) or "no family"
        raise VariorumError(
            "model",
            expected="a model of exactly one family's shape",
            found=f"that of {names}",
            do="Name one: save_folder(..., model_type=...)."
            if able
            else "Only models built as a family's to_spec builds them can be written; save a bundle instead.",
        )
    return able[0]


def writes(family: Family, spec: Spec[Skeleton]) -> bool:
    """Does the family's config.json describe exactly this Spec?"""
    try:
        return family.to_spec(Config(family.to_config(spec))) == spec
    except VariorumError:
        return False
