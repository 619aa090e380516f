"""``python -m variorum``: the command line."""

from variorum.cli.app import main

main()
