"""Follow an open job: look at it, wait for it, and say why it waits."""
