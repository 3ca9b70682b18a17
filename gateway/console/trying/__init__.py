"""Try a model: a few items that people drop or paste, predicted now; nothing is kept."""
