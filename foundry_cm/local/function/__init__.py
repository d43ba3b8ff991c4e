"""The local Foundry's runtime: what a compute module talks to while it answers calls."""

from foundry_cm.local.function.foundry import CallResult, LocalFoundry, Reporter, Settings

__all__ = ["CallResult", "LocalFoundry", "Reporter", "Settings"]
