"""Floor 1: what a block is made of. Parts that are usable alone; nothing here knows a model, a task or a system."""
