"""Create a bucket, where the client's region is."""

from typing import Any

from botocore.exceptions import ClientError

from fornada.storage.s3.refusals import errors


def create_bucket(client: Any, bucket: str) -> None:
    """Create the bucket, unless it exists.

    Amazon wants the region's name outside of us-east-1, and takes none there. Other stores may know
    no regions, so it is named only to one that asks.
    """
    try:
        try:
            client.create_bucket(Bucket=bucket)
        except ClientError as exc:
            if not errors.says_region_is_missing(exc):
                raise
            region = {"LocationConstraint": client.meta.region_name}
            client.create_bucket(Bucket=bucket, CreateBucketConfiguration=region)
    except ClientError as exc:
        if not errors.says_own_bucket(exc):
            raise
