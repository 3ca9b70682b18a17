"""A fleet of many workers: what each costs what they share, and what follows, simulated."""
