"""Tests of what measures and plans."""
