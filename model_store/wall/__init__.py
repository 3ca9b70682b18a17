"""The wall: a process with limits, which loads a model before anything else does."""
