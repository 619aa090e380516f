"""Floor 3: losses and training signals, as totals and counts over real tokens."""
