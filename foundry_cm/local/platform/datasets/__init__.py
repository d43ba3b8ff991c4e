"""Datasets of the local platform: `routes` over `dataset`, which is read from files (`inputs`) or written (`store`)."""
