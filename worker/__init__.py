"""The consumer: takes shards from the queue, predicts them, commits their outcomes."""
