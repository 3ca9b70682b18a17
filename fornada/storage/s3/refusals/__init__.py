"""What a store means when it refuses, or does not answer."""
