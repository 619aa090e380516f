"""Floor 0: the grammar (Spec, Part, Layout, State, registry, catalogue, errors). Imports torch and nothing of ours."""

from variorum.core.catalogue import Entry, Row, entries, entry, find_entry, rows
from variorum.core.errors import VariorumError, nearest
from variorum.core.hooks import listen, points
from variorum.core.isolated import isolated
from variorum.core.kinds import (
    Channel,
    Conditioned,
    Embed,
    Head,
    Input,
    Layer,
    Loss,
    Memory,
    Merge,
    Mixer,
    Norm,
    Objective,
    Pattern,
    Pool,
    Position,
    Residual,
    Rotation,
    ScoreBias,
    Skeleton,
    Streaming,
    TokenPart,
    Tower,
)
from variorum.core.layout import Layout, each_pair, each_row, pack, pool_rows, reform_rows, unpack
from variorum.core.part import Part
from variorum.core.registry import Registered, find, registered
from variorum.core.spec import Change, Spec, diff
from variorum.core.state import State
from variorum.core.traits import Growth, Traits

__all__ = [
    "Change",
    "Channel",
    "Conditioned",
    "Embed",
    "Entry",
    "Growth",
    "Head",
    "Input",
    "Layer",
    "Layout",
    "Loss",
    "Memory",
    "Merge",
    "Mixer",
    "Norm",
    "Objective",
    "Part",
    "Pattern",
    "Pool",
    "Position",
    "Registered",
    "Residual",
    "Rotation",
    "Row",
    "ScoreBias",
    "Skeleton",
    "Spec",
    "State",
    "Streaming",
    "TokenPart",
    "Tower",
    "Traits",
    "VariorumError",
    "diff",
    "each_pair",
    "each_row",
    "entries",
    "entry",
    "find",
    "find_entry",
    "isolated",
    "listen",
    "nearest",
    "pack",
    "points",
    "pool_rows",
    "reform_rows",
    "registered",
    "rows",
    "unpack",
]
