"""What requests for predictions bring, and how their answers are written."""
