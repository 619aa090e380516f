"""Parts that normalise each token alone."""
