"""What computes: an interface, a catalog, and the modules of each engine."""
