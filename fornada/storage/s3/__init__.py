"""S3-compatible stores; the only code that speaks boto3."""
