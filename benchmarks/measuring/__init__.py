"""Measure contenders in turn, on servers of their own."""
