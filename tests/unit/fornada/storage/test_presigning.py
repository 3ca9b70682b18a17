"""URLs for others to put objects."""

from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore

SETTINGS = Settings(
    s3_endpoint_url="http://minio:9000",
    s3_bucket="models",
    s3_access_key_id="key",
    s3_secret_access_key=SecretStr("secret"),
)


def test_a_url_is_at_the_address_that_callers_reach() -> None:
    public = SETTINGS.model_copy(update={"s3_public_endpoint_url": "https://s3.example.com"})

    urls = [
        S3ObjectStore.from_settings(settings)
        .presign_put("a/b", size_bytes=None, sha256=None, expires_s=60)
        .url
        for settings in (SETTINGS, public)
    ]

    assert ["http://minio:9000/models/a/b", "https://s3.example.com/models/a/b"] == [
        url.partition("?")[0] for url in urls
    ]


def test_size_and_digest_are_part_of_the_signature() -> None:
    put = S3ObjectStore.from_settings(SETTINGS).presign_put(
        "a", size_bytes=3, sha256="00" * 32, expires_s=60
    )

    query = parse_qs(urlsplit(put.url).query)
    assert ["content-length;host;x-amz-checksum-sha256"] == query["X-Amz-SignedHeaders"]
    assert ["60"] == query["X-Amz-Expires"]
    assert {"Content-Length": "3", "x-amz-checksum-sha256": f"{'A' * 43}="} == put.headers
