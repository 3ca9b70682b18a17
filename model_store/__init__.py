"""Models by version and alias; an object store is all they need."""
