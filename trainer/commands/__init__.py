"""The `fornada train`, `dataset` and `evaluate` commands."""
