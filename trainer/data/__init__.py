"""What models learn from: named data sets, and data of the caller's own."""
