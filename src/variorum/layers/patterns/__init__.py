"""Which keys a query may look at, told by positions; no parameters."""
