"""A module in a folder: its settings, its functions and their types, its tracebacks."""
