"""`/docs`: the API for people, written from its OpenAPI description."""
