"""The formats of exported results, a module each."""
