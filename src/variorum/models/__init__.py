"""Floor 2: skeletons that hold blocks: stack, encoder-decoder, pyramid. No mechanism of their own that a part could be."""
