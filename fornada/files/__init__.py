"""Files of this machine that belong to one user alone: the cache, and what is gone after use."""
