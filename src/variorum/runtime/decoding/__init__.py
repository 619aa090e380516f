"""How the next tokens of a row are chosen: greedily, by chance, or by beam search. No model."""
