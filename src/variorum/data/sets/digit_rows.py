"""Handwritten digits of scikit-learn, read line by line as series."""

from variorum.data.series_files import SeriesFile
from variorum.data.sets.bundled import Bundled


class DigitRowsSet(Bundled):
    """Handwritten digits, read from the top to the bottom."""

    name, reads = "digit-rows", "labelled series"
    says = "1,797 handwritten digits shipped with scikit-learn, read line by line: 8 steps of 8 grey levels."

    def read(self) -> SeriesFile:
        from sklearn.datasets import load_digits

        found = load_digits()
        return SeriesFile(list(found.images), found.target.tolist(), classes=True)
