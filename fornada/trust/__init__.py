"""What is believed and what is allowed: the keys of a deployment, and what its jobs may read."""
