"""The checks, one file for each subject; `registry.checks()` reads all of them."""
