"""What worker processes say of themselves, every few seconds. All of it may be lost."""
