"""`python -m foundry_cm` is `cm`."""

from foundry_cm.cli import main

main()
