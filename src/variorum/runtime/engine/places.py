"""What is done to attention's queries and keys before they are compared, as a kernel does it."""

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from variorum.layers.mixers.attention import Attention
from variorum.layers.mixers.kernels.placed_heads import BoundPlaces, Places
from variorum.layers.positions.turning import Turning
from variorum.runtime.engine.joins import Gain, gain_of


def placeable(mixer: Attention) -> bool:
    """Has a kernel its norms of queries and keys, and its rotation?"""
    norms = [gain_of(norm) for norm in (mixer.query_norm, mixer.key_norm) if norm is not None]
    known = len(norms) != 1 and None not in norms and len({gain.normed for gain in norms if gain}) < 2
    return known and (mixer.rotation is None or isinstance(mixer.rotation, Turning))


def places_of(mixer: Attention) -> Callable[[Tensor], BoundPlaces] | None:
    """Makes the kernel of heads (rows, queries + keys + values, head_dim), float32; None where nothing is to do."""
    if mixer.key_norm is None and mixer.rotation is None:
        return None
    kind, size, frequency = Places(mixer.heads, mixer.kv_heads, mixer.head_dim), 1.0, torch.empty(0)
    gains, shifts = torch.ones(2, mixer.head_dim), torch.zeros(2, mixer.head_dim)
    if mixer.key_norm is not None:
        norms = [cast(Gain, gain_of(cast(nn.Module, norm))) for norm in (mixer.query_norm, mixer.key_norm)]
        gains, shifts = (torch.stack(t) for t in zip(*(norm.filled(mixer.head_dim) for norm in norms), strict=True))
        kind = kind._replace(eps=norms[0].normed.eps, centred=norms[0].normed.centred)
    if isinstance(mixer.rotation, Turning):
        size = mixer.rotation.size
        frequency = mixer.rotation.frequencies(mixer.head_dim, torch.device("cpu")).contiguous()
        kind = kind._replace(turned=len(frequency))
    return partial(BoundPlaces, kind, gains=gains, shifts=shifts, frequency=frequency, size=size)
