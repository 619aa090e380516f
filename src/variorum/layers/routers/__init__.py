"""Parts that say which experts a token goes to, and with what weight. Nothing that computes what experts do."""
