"""Which jobs there are, by owner and time of submission."""
