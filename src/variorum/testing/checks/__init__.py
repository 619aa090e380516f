"""The checks: one file a family, each check a function of an example that raises when a promise is broken."""
