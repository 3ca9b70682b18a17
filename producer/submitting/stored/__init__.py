"""Objects that are in the store already become shards; what can stay there does."""
