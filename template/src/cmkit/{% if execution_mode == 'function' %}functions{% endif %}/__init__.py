"""Function mode: the start of the module, and what its functions return."""
