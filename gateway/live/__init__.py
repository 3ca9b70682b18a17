"""Jobs as they go on, streamed to whoever follows them."""
