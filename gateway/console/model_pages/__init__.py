"""Pages of models: all of them, one, a version, two compared, and what moves aliases."""
