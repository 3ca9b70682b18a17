"""Rows to outputs: models in memory, the batcher, and its tile and threads."""
