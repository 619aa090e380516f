"""Parts that move information between the tokens of a row. No blocks, no whole models."""
