"""The `fornada models` commands."""
