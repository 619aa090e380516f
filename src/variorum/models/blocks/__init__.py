"""Layers of a model: how a mixer, channels, norms and residuals hang together."""
