"""The random numbers of a training: each step has its own, however it was reached."""

import hashlib

import torch


def seed_all(device: torch.device, seed: int, name: str) -> None:
    """Seed torch's own random numbers for what is named, such as a step: names draw apart, a name draws the same."""
    number = int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "big") >> 1
    # torch.manual_seed asks every kind of device that torch knows, which takes longer than a small model's step.
    torch.default_generator.manual_seed(number)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(number)
