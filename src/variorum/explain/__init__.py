"""Floor 5: says what a model does: formal specifications, attributions, hooks at work."""
