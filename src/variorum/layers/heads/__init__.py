"""Parts that make answers of tokens: logits, classes, values."""
