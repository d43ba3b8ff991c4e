"""The local platform: datasets, streams and media sets as the official client calls them."""

from foundry_cm.local.platform.app import create_platform
from foundry_cm.local.platform.faults import Faults, parse_fault
from foundry_cm.local.platform.registry import REGISTRY, Activity, Registry
from foundry_cm.local.platform.resources import Resource
from foundry_cm.local.platform.tokens import TOKENS, Tokens
from foundry_cm.module.resources import Kind

__all__ = [
    "REGISTRY",
    "TOKENS",
    "Activity",
    "Faults",
    "Kind",
    "Registry",
    "Resource",
    "Tokens",
    "create_platform",
    "parse_fault",
]
