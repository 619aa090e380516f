"""Parts that make the input of a layer of the outputs of all layers before it."""
