"""Model weights: locked by hash, downloaded, verified."""
