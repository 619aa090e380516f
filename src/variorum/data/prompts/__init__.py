"""Prompts of points and values of an unknown function, which a model goes on with. Made, not found."""
