"""What a good practitioner would try first, one file a baseline, each a (Spec, Recipe) pair like any candidate."""
