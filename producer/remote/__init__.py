"""A deployment behind a gateway, reached over HTTP alone."""
