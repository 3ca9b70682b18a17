"""The `fornada` command: its router, and the commands that belong to no role."""
