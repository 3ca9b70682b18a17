"""S3-compatible stores; the only package that speaks boto3."""
