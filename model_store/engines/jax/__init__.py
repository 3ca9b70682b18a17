"""The engines `jax` and `jax-bf16`: Keras on JAX, on the CPU, on a GPU or on a TPU."""
