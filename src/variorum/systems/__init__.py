"""Floor 6: the catalogue: one file a published system, a function that returns a Spec in its published sizes."""
