"""Floor 2: skeletons that hold blocks: stack, encoder-decoder, pyramid. No mechanism that a part could be."""
