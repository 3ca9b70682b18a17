"""Pictures of training and of predictions, as PNG bytes."""
