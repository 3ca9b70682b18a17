"""Pages of jobs: all of them, one, its shards, its items, and what can be done with it."""
