"""Floor 5: makes a model that exists smaller; works on any model in which it finds what it needs."""
