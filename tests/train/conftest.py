"""A tiny model with dropout everywhere, and a tiny task, for tests of the training loop."""

import pytest
import torch

from train.tiny_decoder import tiny_decoder
from variorum.data.text import TextTask


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
