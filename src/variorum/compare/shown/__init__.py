"""How held-out rows of each kind of data are shown beside a model's answers: a file a kind. Nothing is drawn here."""
