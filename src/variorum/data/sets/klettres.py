"""Spoken letters and syllables of the game KLettres, by language."""

from pathlib import Path

from variorum.core import VariorumError
from variorum.data.clips import Clips
from variorum.data.folders import files_in
from variorum.data.recordings import SOUNDS
from variorum.data.sets.bundled import Bundled

FOLDER = Path("/usr/share/klettres")
PARTS = ("alpha", "syllab")


class KLettresSet(Bundled):
    """In which language a letter or a syllable is said."""

    name, reads = "klettres", "sounds"
    says = (
        "1,836 spoken letters and syllables of 20 languages, from the system's package of the game KLettres. Each "
        "language was spoken by few people, who are in train and test alike: what is learned may be their voices."
    )

    def read(self) -> Clips:
        languages = sorted(p for p in FOLDER.iterdir() if (p / PARTS[0]).is_dir()) if FOLDER.is_dir() else []
        found = [
            (file, code)
            for code, language in enumerate(languages)
            for part in PARTS
            if (language / part).is_dir()
            for file in files_in(language / part, SOUNDS)
        ]
        if len({code for _, code in found}) < len(languages) or len(languages) < 2:
            raise VariorumError(self.name, expected=f"the data set in {FOLDER}", found="nothing there",
                                do="Try chirps, or apt-get install klettres-data.")  # fmt: skip
        return Clips([file for file, _ in found], [code for _, code in found], [p.name for p in languages])
