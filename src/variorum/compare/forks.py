"""The server that a comparison's processes are forked from. Importing this costs nothing, so that whoever is about to
import much can first start the server, which then does so at the same time.
"""

from variorum.train import apart

IMPORTED = ("variorum.compare.ahead", "lightning_fabric")


def get_ready() -> None:
    """Start the server, unless it runs already."""
    apart.get_ready(IMPORTED)
