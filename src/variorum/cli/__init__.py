"""Floor 9: the commands. No logic of their own: what they print is made in the rooms below."""

from variorum.cli.app import app, main

__all__ = ["app", "main"]
