"""Plays of Shakespeare."""

from importlib.resources import files

from variorum.data.sets.bundled import Bundled


class ShakespeareSet(Bundled):
    """Nine plays as one text."""

    name, reads = "shakespeare", "text"
    says = "Plays of Shakespeare, Project Gutenberg's text (public domain)."

    def read(self) -> str:
        return (files("variorum.data") / "texts" / "shakespeare.txt").read_text("utf-8")
