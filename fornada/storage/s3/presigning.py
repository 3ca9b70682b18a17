"""URLs under which others may put one object, at the address by which they reach the store."""

import base64
import functools
from typing import Any

from fornada.settings import Settings
from fornada.storage.interface import SignedPut
from fornada.storage.s3.client import Boto
from fornada.storage.s3.limits import Limits


class Presigner:
    """Signs puts into the bucket of the settings."""

    def __init__(self, settings: Settings, limits: Limits) -> None:
        # A proxy, or a compose file, gives the store another name outside.
        public = settings.s3_public_endpoint_url or settings.s3_endpoint_url
        self._boto = Boto(settings.model_copy(update={"s3_endpoint_url": public}), limits)
        self._bucket = settings.s3_bucket

    def put(
        self, key: str, *, size_bytes: int | None, sha256: str | None, expires_s: int
    ) -> SignedPut:
        """A URL for one put; nothing is contacted."""
        headers: dict[str, str] = {}
        wanted: dict[str, Any] = {"Bucket": self._bucket, "Key": key}
        if size_bytes is not None:
            wanted["ContentLength"] = size_bytes
            headers["Content-Length"] = str(size_bytes)
        if sha256 is not None:
            checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
            wanted["ChecksumSHA256"] = headers["x-amz-checksum-sha256"] = checksum
        url = self._client.generate_presigned_url("put_object", Params=wanted, ExpiresIn=expires_s)
        return SignedPut(url=url, headers=headers)

    @functools.cached_property
    def _client(self) -> Any:
        return self._boto.client
