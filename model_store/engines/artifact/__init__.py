"""What a `.keras` file holds: its archive, the activations it names, the sizes it asks for."""
