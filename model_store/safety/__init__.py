"""What may be loaded: checks of artifacts, signatures, and the operator's trust."""
