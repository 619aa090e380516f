"""The first losses of trainings that are stored: what should change no number changes none.

Each file of ``golden/`` is a training: the catalogue's slug of a system with its arguments, task and recipe as Specs,
and its losses. To add one, write a file without losses; to write the losses of all anew, after a change that is meant
to change them, run this file: ``python tests/train/test_golden.py --write``.
"""

import json
import sys
from pathlib import Path

import pytest
import torch

from variorum.core import Spec, find_entry
from variorum.train.recipe import Budget, Run

FILES = sorted((Path(__file__).parent / "golden").glob("*.json"))


def losses(stored):
    """The losses of the training, one a step."""
    events = []
    run = Run(Budget(steps=stored["steps"]), seed=stored["seed"], report=events.append)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        spec = find_entry(stored["system"]).spec(**stored["args"])
        Spec.from_dict(stored["recipe"]).build().train(spec, Spec.from_dict(stored["task"]).build(), run)
    finally:
        torch.set_num_threads(before)
    return [event["loss"] for event in events]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_losses_are_the_stored_ones(file):
    stored = json.loads(file.read_text("utf-8"))
    assert len(stored["losses"]) == stored["steps"] == 20
    assert losses(stored) == pytest.approx(stored["losses"], rel=1e-5)
    assert stored["losses"][-1] < stored["losses"][0]


def test_there_are_files():
    assert "decoder" in [file.stem for file in FILES]


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    for path in FILES:
        training = json.loads(path.read_text("utf-8"))
        training["losses"] = losses(training)
        path.write_text(json.dumps(training, indent=1) + "\n", "utf-8")
