"""How the minutes of a job are shared: half for the searches, half for the finals, and what the last pass needs.

In either half the candidates that are brief come first; what they leave is shared among the others.
"""

from math import ceil

from variorum.core import VariorumError

LEAST_SECONDS = 1.0
"""Training for less than this says nothing about a candidate."""
START_SECONDS = 2.0
"""What a worker is thought to take to load the data before the first one has shown it."""
CAUTION = 1.25
"""Once a worker has loaded the data, the next is thought to take this many times as long, and a little more."""
ENDING_SECONDS = 0.5
"""What starting a process, ending it and reading its result takes."""
FINAL_SECONDS_EACH = 2.0
"""What the last pass takes for each candidate, besides starting."""
GALLERY_PART, GALLERY_SECONDS = 0.05, 6.0
"""What looking at the answers of the finalists may take: a part of the job, but no more than these seconds."""
TOLERANCE, OVERRUN = 0.06, 0.1
"""Parts of the whole job by which a worker may overrun its share, and the job its budget, before they are ended."""
SEARCH = 0.5
"""The part of the job's seconds, without the last pass, that is for searching."""


class Shares:
    """Splits the seconds of a job equally among tasks of which ``workers`` run at a time, a round after another.

    total: seconds of the whole job.     candidates: how many there are.
    Starting a process belongs to nobody: it is taken off before the rest is shared.
    """

    def __init__(self, total: float, *, candidates: int, workers: int) -> None:
        self.total, self.candidates, self.workers = total, candidates, workers
        self._starts: list[float] = []

    @property
    def start(self) -> float:
        """Seconds that a worker is expected to take besides training and scoring."""
        return CAUTION * max(self._starts) + ENDING_SECONDS if self._starts else START_SECONDS

    @property
    def last(self) -> float:
        """Seconds that are kept for the last pass over all candidates, which starts a process, and for galleries."""
        return self.start + FINAL_SECONDS_EACH * self.candidates + self.galleries

    @property
    def galleries(self) -> float:
        """Seconds of those for looking at the answers of the finalists."""
        return min(GALLERY_PART * self.total, GALLERY_SECONDS)

    def learn(self, seconds: float) -> None:
        """A worker took this long to load the data."""
        self._starts.append(seconds)

    def search(self, elapsed: float, *, left: int) -> float:
        """Seconds for the search of each of ``left`` candidates, ``elapsed`` seconds into the job."""
        return self._each(SEARCH * (self.total - self.last) - elapsed, left)

    def final(self, elapsed: float, *, left: int) -> float:
        """Seconds for each of ``left`` final trainings."""
        return self._each(self.total - self.last - elapsed, left)

    def _each(self, seconds: float, left: int) -> float:
        return seconds / ceil(left / self.workers) - self.start

    def granted(self, share: float, elapsed: float) -> float:
        """The share, or what is left of the job where starting took longer than expected.

        At most half of what is left is kept for starting and for the last pass, and a second is granted as long as
        there are four: a guess at what is needed, however cautious, must not leave a candidate without any time.
        """
        left = self.total - elapsed
        return max(min(share, left - min(self.last + self.start, left / 2)), min(LEAST_SECONDS, left / 4))

    def limit(self, granted: float, elapsed: float) -> float:
        """Seconds after which a worker that was granted ``granted`` is ended."""
        patient = max(granted, LEAST_SECONDS) + 2 * self.start + TOLERANCE * self.total
        return max(granted, min(patient, (1 + OVERRUN) * self.total - self.last - elapsed))

    def last_limit(self, elapsed: float) -> float:
        """Seconds after which the last pass is ended; one second is kept for writing the report."""
        return (1 + OVERRUN) * self.total - elapsed - 1.0

    def check(self, *, left: int) -> None:
        """Raise :class:`VariorumError` if no candidate would get enough seconds to learn anything."""
        if self.search(0.0, left=left) < LEAST_SECONDS:
            rounds = ceil(left / self.workers)
            needed = ceil((self.last + rounds * (self.start + LEAST_SECONDS) / SEARCH) / 6) / 10
            raise VariorumError(f"a budget of {self.total / 60:g} minutes for {left} candidates",
                                expected=f"at least {needed:g} minutes", found=f"{self.total / 60:g}",
                                do="Give more --minutes, or choose fewer with --systems.")  # fmt: skip
