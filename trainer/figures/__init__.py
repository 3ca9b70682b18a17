"""Figures of training and predictions, as PNG bytes."""
