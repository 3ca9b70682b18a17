"""What computes: an interface, a catalog, and one module or family of modules an engine."""
