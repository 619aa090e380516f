"""Floor 4: the loop, optimisers, schedules, precision, checkpoints. Nothing here knows a system."""
