"""Fornada beside others on the same work: `make bench`."""
