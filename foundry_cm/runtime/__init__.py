"""The local Foundry's runtime: what a compute module talks to while it answers calls."""

from foundry_cm.runtime.foundry import CallResult, LocalFoundry, Reporter, Settings

__all__ = ["CallResult", "LocalFoundry", "Reporter", "Settings"]
