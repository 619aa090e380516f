"""When a token leaves a model that answers after several of its blocks, and how that is learned."""
