"""Models by version and alias, on nothing but an object store."""
