"""How to train: networks, plans, and the options of a training file."""
