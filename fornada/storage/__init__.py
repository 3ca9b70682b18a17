"""The object store: its interface, and one file or folder a store."""
