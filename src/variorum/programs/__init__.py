"""Floor 3: weights by construction."""
