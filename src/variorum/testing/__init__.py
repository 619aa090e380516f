"""The public contract suite: every registered part is held to what it declares (may import any room)."""
