"""Bytes to arrays and back: one module per format."""
