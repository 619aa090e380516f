"""Parts that join a branch to the stream, and where the norm stands."""
