"""Which tokens of a row attend to each other, told by where they are. Nothing that holds parameters or attends."""
