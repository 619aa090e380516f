"""Real data that is there after installation, or that a package of the system brings."""
