"""Publishing a model: the bytes of a file, or a model fitted here; each ends in the same check."""
