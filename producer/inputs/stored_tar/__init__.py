"""Tar archives in the store: where their members are, found by ranges; nothing is copied."""
