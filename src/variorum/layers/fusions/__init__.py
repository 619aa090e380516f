"""Parts that let branches of different width tell each other what they found."""
