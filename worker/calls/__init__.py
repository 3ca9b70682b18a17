"""Calls of `client.predict`: taken from Redis, predicted together, answered."""
