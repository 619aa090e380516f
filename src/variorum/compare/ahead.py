"""What the processes of a comparison need, imported by the server that they are forked from before it forks them."""

from variorum.compare import latency, search  # noqa: F401
from variorum.core.registry import discover

discover()
