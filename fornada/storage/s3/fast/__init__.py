"""The fast client: common requests over HTTP or TLS, without boto3."""
