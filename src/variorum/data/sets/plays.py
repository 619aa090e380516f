"""Speeches of Shakespeare's plays, each with the play that it is from."""

import re
from typing import Any, ClassVar

from variorum.data.sets.bundled import Bundled, sets

TITLE = re.compile(r"^([A-Z][A-Z ,']+)\n\nby William Shakespeare\n", re.MULTILINE)
SPEAKER = re.compile(r"^[A-Z][A-Za-z ]{0,30}\.?\n")
STAGE = re.compile(r"\[[^\]]*\]")
FEWEST_WORDS = 6


class ShakespearePlaysSet(Bundled):
    """Which play is a speech from?"""

    name, reads = "shakespeare_plays", "labelled texts"
    says = (
        "Speeches of nine plays of Shakespeare without the speakers' names, Project Gutenberg's text (public domain)."
    )
    asks: ClassVar[dict[str, Any]] = {"target": "play"}

    def read(self) -> Any:
        import pandas as pd

        parts = TITLE.split(sets()["shakespeare"].read())[1:]
        rows = [
            (speech, play.title().replace("'S", "'s"))
            for play, text in zip(parts[::2], parts[1::2], strict=True)
            for speech in speeches(text)
        ]
        return pd.DataFrame(rows, columns=["speech", "play"])


def speeches(text: str) -> list[str]:
    """What follows lines with a speaker's name, up to an empty line, without the directions for the stage."""
    spoken = [
        STAGE.sub("", part[match.end() :]) for part in re.split(r"\n\s*\n", text) if (match := SPEAKER.match(part))
    ]
    flat = (" ".join(part.split()) for part in spoken)
    return [part for part in flat if len(part.split()) >= FEWEST_WORDS]
