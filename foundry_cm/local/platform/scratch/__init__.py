"""Scratch: a cache and locks that all replicas of a module share, as the SDK's package `scratch` calls them.

`store` has the entries and their ends, `routes` is what the SDK (0.34) calls.
"""
