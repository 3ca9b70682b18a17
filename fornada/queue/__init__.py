"""Durable messages: the queue between producers and workers."""
