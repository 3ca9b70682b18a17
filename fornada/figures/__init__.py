"""What shards and jobs cost and what was predicted, in numbers that add up."""
