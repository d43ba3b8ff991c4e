"""Media sets of the local platform: their routes, and where they lie on disk."""
