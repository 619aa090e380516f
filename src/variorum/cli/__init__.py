"""Floor 9: the commands. No logic of their own."""
