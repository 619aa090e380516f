"""Parts that tell where a token is: added to it, turned into it, or added to scores."""
