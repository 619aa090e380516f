"""Distributions over data sets, to fit networks to before any data is seen."""
