"""Saving: what safetensors keeps is the whole part."""

import tempfile
from pathlib import Path

from safetensors.torch import load_model, save_model

from variorum.testing.compared import same
from variorum.testing.example import Example
from variorum.testing.needs import CALLED, MODULE
from variorum.testing.suite import promise


@promise(MODULE, CALLED)
def saved_and_loaded(example: Example) -> None:
    """Its tensors, written with safetensors and read into a part built with another seed, give bit-equal answers."""
    size = example.size(7)
    rows = example.rows(size, size)
    other = example.build(seed=1)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "part.safetensors")
        save_model(example.build(), path)
        load_model(other, path)
    for found, wanted in zip(example.equal(other, rows, size), example.equal(example.part, rows, size), strict=True):
        same(found, wanted, "the loaded part gave other answers: something it needs is not in its state", 0)
