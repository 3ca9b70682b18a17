"""How to train: networks with their defaults, custom networks, and the caller's plan."""
