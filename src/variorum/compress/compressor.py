"""What makes a model that exists smaller or faster."""

from abc import abstractmethod
from typing import ClassVar

from variorum.core import Part, Registered


class Compressor(Registered, abstract=True):
    """Rewrites a trained model into a smaller one with the same inputs and answers. It touches only parts in which it
    finds what it needs, and asks their traits and parameters, never a model's name.
    """

    kind: ClassVar[str] = "compressor"

    @abstractmethod
    def compress(self, model: Part) -> Part:
        """A new, smaller model; the one given is left as it is."""
