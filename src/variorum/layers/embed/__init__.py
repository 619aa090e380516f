"""Parts that make tokens of raw inputs: ids, images, table rows, series."""
