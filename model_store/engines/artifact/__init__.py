"""What a `.keras` file holds: its archive, activations, sizes, and the work of its calls."""
