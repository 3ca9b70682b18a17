"""The Redis server that FORNADA_REDIS_URL names."""
