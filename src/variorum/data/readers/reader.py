"""What a reader is, and which one is chosen for the user's data."""

from abc import abstractmethod
from enum import IntEnum
from pathlib import Path
from typing import ClassVar

from variorum.core import Registered, VariorumError, registered
from variorum.core.errors import nearest
from variorum.data.folders import shown
from variorum.data.question import NO_QUESTION, Question
from variorum.data.sets.bundled import find_set, sets
from variorum.data.task import Task


class Sure(IntEnum):
    """How sure a reader is that data are of its kind; the surest reads them."""

    NO = 0
    PERHAPS = 1
    """Nothing speaks against it: any UTF-8 file is a text."""
    NAME = 2
    """The name says so: its suffix, or those of the files in a folder."""
    CONTENT = 3
    """What is inside says so."""
    ASKED = 4
    """The question makes sense for this kind only."""


class Reader(Registered, abstract=True):
    """Knows one kind of data, and makes a task of it.

    reads: the kind, as tasks and systems name it.     looks_like: how such data come, in words.
    new: what a user would give a model to answer, as an example.     tag: the task in model cards, in the field's word.
    asks: the fields of :class:`Question` that it understands, beside ``reads``.
    """

    kind: ClassVar[str] = "reader"
    reads: ClassVar[str]
    looks_like: ClassVar[str]
    new: ClassVar[str]
    tag: ClassVar[str]
    asks: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def sure(self, path: Path, question: Question) -> Sure:
        """How sure it is of a file with content or of a folder; :class:`VariorumError` if it is nearly of its kind."""

    @abstractmethod
    def read(self, source: str, question: Question, seed: int) -> Task:
        """The task that a path, or a bundled name of this kind, holds; seed: of the split."""


def readers() -> dict[str, Reader]:
    """All readers by the kind that they read."""
    found = (cls() for cls in registered(Reader).values() if issubclass(cls, Reader))
    return {reader.reads: reader for reader in sorted(found, key=lambda reader: reader.reads)}


def detect(source: str | Path, question: Question = NO_QUESTION) -> Reader:
    """The reader of a path or of a bundled name; :class:`VariorumError` if no reader knows it."""
    known, path = readers(), Path(source)
    if question.reads is not None:
        if question.reads not in known:
            raise VariorumError(f"kind of data {question.reads!r}", expected=f"one of {', '.join(known)}",
                                found="another", do=nearest(question.reads, known))  # fmt: skip
        if not path.exists() and find_set(source, question.reads) is None:
            _bundled(str(source))
        return known[question.reads]
    if not path.exists():
        return known[_bundled(str(source))]
    if path.is_file() and path.stat().st_size == 0:
        raise VariorumError(str(source), expected="a file with content", found="an empty file", do="Give another file.")
    sure = {reads: _sure(reader, path, question) for reads, reader in known.items()}
    best = max(sure, key=lambda reads: sure[reads])
    if sure[best] is Sure.NO:
        found = (
            "a folder without any of these"
            if path.is_dir()
            else f"a file of unknown kind ({path.suffix or 'no suffix'})"
        )
        raise VariorumError(str(source), expected="; or ".join(reader.looks_like for reader in known.values()),
                            found=found, do="Convert it to one of these.")  # fmt: skip
    return known[best]


def _sure(reader: Reader, path: Path, question: Question) -> Sure:
    try:
        return reader.sure(path, question)
    except OSError as error:
        raise VariorumError(shown(path), expected="a file or a folder that can be read",
                            found=error.strerror or str(error),
                            do="Check the path and its permissions.") from None  # fmt: skip


def load_task(source: str | Path, question: Question = NO_QUESTION, *, seed: int = 0) -> Task:
    """The task that a path or a bundled name holds.

    seed: of the split; a text is split by place, series by time. Raises :class:`VariorumError` for whatever cannot be
    learned from, and for a question that makes no sense for this kind of data, and says what would help.
    """
    reader = detect(source, question)
    for name, value in question.asked.items():
        if name not in {"reads", *reader.asks}:
            asks = ", ".join(sorted(reader.asks)) or "nothing more"
            raise VariorumError(f"{source} {name}", expected=f"none: {reader.reads} ask for {asks}",
                                found=repr(value), do=f"Leave the {name} out, or give --reads.")  # fmt: skip
    return reader.read(str(source), question, seed)


def _bundled(name: str) -> str:
    """The kind of a bundled set."""
    known = sets()
    if name in known:
        return known[name].reads
    parent = Path(name).parent
    beside = (
        [str(parent / f.name) if str(parent) != "." else f.name for f in parent.iterdir()] if parent.is_dir() else []
    )
    raise VariorumError(name, expected="a file, a folder, or a bundled name", found="nothing of this name",
                        do=nearest(name, {*known, *beside}))  # fmt: skip
