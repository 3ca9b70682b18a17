"""The `fornada` command: its router, its output, and the commands that belong to no role."""
