"""Numbers that sum up a row without being trained: what plain models of whole rows are fitted to."""
