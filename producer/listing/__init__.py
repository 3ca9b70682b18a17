"""List jobs, and the shards of one."""
