"""The random numbers of a training: each step has its own, however it was reached."""

import hashlib

import torch


def named(seed: int, name: str, *, size: int = 8) -> int:
    """A number of so many bytes for what is named: names have different ones, a name always the same."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=size).digest(), "big")


def seed_all(device: torch.device, seed: int, name: str) -> None:
    """Seed torch's own random numbers for what is named, such as a step: names draw apart, a name draws the same."""
    number = named(seed, name) >> 1
    # torch.manual_seed asks every kind of device that torch knows, which takes longer than a small model's step.
    torch.default_generator.manual_seed(number)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(number)
