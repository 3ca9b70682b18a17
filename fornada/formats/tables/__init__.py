"""Tables to items: columns bound to a model's inputs, and Parquet read by row groups."""
