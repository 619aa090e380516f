"""Parts that map the channels of one token to others, where a matrix could stand."""
