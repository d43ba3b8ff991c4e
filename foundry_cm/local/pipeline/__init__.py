"""Pipeline mode: the module runs against the local platform until there is nothing left to do."""
