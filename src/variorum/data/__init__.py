"""Floor 3: readers, tasks, generators, tokenizers. Nothing here knows a model."""
