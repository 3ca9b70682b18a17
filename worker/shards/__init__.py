"""A shard from message to committed outcome."""
