"""The local Foundry: what a compute module talks to on this machine, in either mode."""
