"""What callers have in memory: arrays, tensors, data frames, images, and streams of them."""
