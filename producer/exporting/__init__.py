"""Results as files: one module a format."""
