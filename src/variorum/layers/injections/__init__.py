"""Ways to show a loop its input again. Nothing that looks at another token."""
