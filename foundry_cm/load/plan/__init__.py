"""What `cm plan` is made of: a load, a fleet of replicas, two simulations of it, and a search."""
