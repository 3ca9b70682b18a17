"""Which span submitted a job, for those who enqueue its shards later. It may be lost."""
