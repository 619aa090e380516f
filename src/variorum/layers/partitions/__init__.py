"""Ways to part a grid into boxes of cells that mix among themselves."""
