"""One file a contender; each is a process of its own, in an environment of its own."""
