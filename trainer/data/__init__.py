"""What models learn from: built-in data sets, custom data, and their files."""
