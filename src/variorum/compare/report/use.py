"""How to use the winner: commands and a few lines of Python, ready to copy."""

import shlex

from variorum.compare.answer import winner
from variorum.compare.record import Record
from variorum.data.readers.reader import readers


def uses(record: Record) -> list[dict[str, str]]:
    """Codes to copy, and what each does."""
    if winner(record.finished) is None:
        return []
    folder = str(record.out / "winner")
    new = readers()[record.data["kind"]].new
    predict = shlex.join(["variorum", "predict", folder, new, "--out", "answers.csv"])
    export = shlex.join(["variorum", "export", folder, "--to", "onnx"])
    python = f"import variorum\n\nbundle = variorum.load({folder!r})\nbundle.predict({new!r})"
    return [
        {"does": "Answer new rows", "code": predict},
        {"does": "Write it as ONNX, for other programs", "code": export},
        {"does": "From Python", "code": python},
    ]
