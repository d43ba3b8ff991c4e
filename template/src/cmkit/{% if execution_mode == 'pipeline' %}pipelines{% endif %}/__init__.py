"""Pipeline mode: the loop, what it reads, and what it writes."""

from .records import schema_of

__all__ = ["schema_of"]
