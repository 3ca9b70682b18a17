"""Train a Keras model on a known data set, and publish it."""
