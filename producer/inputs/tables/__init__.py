"""Tables as inputs: Parquet, CSV, JSON lines and Arrow files; one module a kind."""
