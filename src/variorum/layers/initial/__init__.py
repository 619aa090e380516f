"""Distributions that initial values are drawn from, each with the names of the tensors it is for."""
