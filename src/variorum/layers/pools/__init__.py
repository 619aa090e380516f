"""Parts that make one vector of a row."""
