"""The photographs of the benchmark: made, packed, stored, and what Keras says of them."""
