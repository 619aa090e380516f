"""Floor 5: bundles, generation, export, foreign checkpoints, serving: a trained model at work."""
