"""One file per contender; each runs as a process in its environment."""
