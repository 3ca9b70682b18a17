"""Unusual keys: read where the store names such objects, and refused with the list elsewhere."""

import io

import numpy as np
import pytest
from PIL import Image

from fornada.errors import InputNotAllowedError, UsageError
from fornada.jobs.shard_items import read_items
from fornada.jobs.store import JobStore
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from fornada.trust.input_prefixes import InputPrefixes
from producer import Client, StoredImages

from ...deployment import publish_unloadable

#: Which rclone and moto both take.
_UNUSUAL = ["a%2Fb", "a%2e%2e/b", "a+b c", "\xe9", "e\u0301", "a?x=1#y", "a\tb", "a\\b", "&<>*~',;"]
#: Which moto takes, as AWS does, and rclone does not.
_SLASHES = ["a//b", "/lead", "//x"]
_UNREADABLE = ["a/./b", "a/../b", ".."]


def _png(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((2, 2), number, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("server", ["rclone", "moto"])
def test_unusual_keys_are_read_as_they_are(
    server: str, settings: Settings, request: pytest.FixtureRequest
) -> None:
    if server == "moto":
        moto: Settings = request.getfixturevalue("moto_settings")
        settings = moto.model_copy(update={"redis_url": settings.redis_url})
    objects, bucket = S3ObjectStore.from_settings(settings), settings.s3_bucket
    publish_unloadable(objects, "m", item_shape=[2, 2], classes=["a", "b"])
    names = _UNUSUAL if server == "rclone" else [*_UNUSUAL, *_SLASHES]
    numbers = {f"inputs/{name}.png": n for n, name in enumerate(names, start=1)}
    for key, number in numbers.items():
        objects.put(key, _png(number))
    client = Client.from_settings(settings)

    manifest = client.submit(StoredImages(bucket=bucket, prefix="inputs/"), model="m").manifest

    jobs = JobStore(objects=objects, prefixes=InputPrefixes.from_settings(settings))
    (shard,) = manifest.shards
    (group,) = read_items(manifest, shard, jobs=jobs).groups
    read = dict(
        zip([ref.key for ref in shard.objects], group.rows.only[:, 0, 0].tolist(), strict=True)
    )
    assert numbers == read


def test_keys_that_clients_resolve_are_refused_with_the_list(
    settings: Settings, moto_settings: Settings
) -> None:
    settings = moto_settings.model_copy(update={"redis_url": settings.redis_url})
    objects, bucket = S3ObjectStore.from_settings(settings), settings.s3_bucket
    publish_unloadable(objects, "m", item_shape=[2, 2], classes=["a", "b"])
    for name in ["good", *_UNREADABLE]:
        objects.put(f"inputs/{name}/x.png", _png(1))
    client = Client.from_settings(settings)

    with pytest.raises(InputNotAllowedError) as info:
        client.submit(StoredImages(bucket=bucket, prefix="inputs/"), model="m")

    for name in _UNREADABLE:
        assert f"'inputs/{name}/x.png' (servers and clients resolve '.' and '..'" in str(info.value)
    assert "good" not in str(info.value)
    arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint"
    for address, flaw in (
        (StoredImages.parse(f"s3://{arn}/photos/2026/"), "give the access point's alias"),
        (StoredImages(bucket=bucket, prefix="inputs/\udcff/"), r"inputs/\udcff/ cannot be read"),
        (StoredImages(bucket=bucket, prefix="inputs/" + "x" * 1024), "1031 bytes"),
        (StoredImages(bucket=bucket, prefix="inputs/../models/"), "'.' and '..'"),
    ):
        with pytest.raises(UsageError) as refusal:
            client.submit(address, model="m")
        assert flaw in str(refusal.value)
        str(refusal.value).encode()
