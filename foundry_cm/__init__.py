"""The local Foundry and the `cm` command for Palantir Foundry compute modules."""

__version__ = "0.1.0"
