"""Results as files: one module a format, listed in the catalog."""
