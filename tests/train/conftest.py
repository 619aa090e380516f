"""A tiny model with dropout everywhere, and a tiny task, for tests of the training loop."""

import pytest
import torch

from train.tiny_decoder import tiny_decoder
from variorum.data.text import TextTask
from variorum.train import clock, judge, loop


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny models are fastest on one thread, whatever else the machine does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def task():
    return TextTask("shakespeare", length=16, valid=0.001, test=0.001)


@pytest.fixture
def spec():
    return tiny_decoder()


@pytest.fixture
def random_spec():
    return tiny_decoder(dropout=0.2)


class Machine:
    """A clock that moves only with the work that is done: seconds of a training step, and of a batch that is judged."""

    def __init__(self):
        self.now, self.step, self.batch = 0.0, 1.0, 0.125

    def spend(self, work, seconds):
        """``work`` that takes the time that ``seconds`` says when it is done."""

        def slow(*args, **rest):
            self.now += getattr(self, seconds)
            return work(*args, **rest)

        return slow


@pytest.fixture
def machine(monkeypatch):
    """Trainings run on this machine's clock."""
    made = Machine()
    monkeypatch.setattr(clock, "perf_counter", lambda: made.now)
    monkeypatch.setattr(loop, "gradient", made.spend(loop.gradient, "step"))
    monkeypatch.setattr(judge, "single", made.spend(judge.single, "batch"))
    return made
