"""The `fornada submit`, `jobs` and `models compare` commands."""
