"""What may be loaded: checks of artifacts, signatures, and what an operator trusts."""
