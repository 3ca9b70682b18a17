"""Items become a job: sharding, upload, manifest, messages."""
