"""Compares Fornada with others on the same work: `make bench`."""
