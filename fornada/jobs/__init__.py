"""A job's records and objects, and what keeps jobs going for every role that hosts it."""
