"""What a store and its bucket can do, found by trying it."""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from fornada import keys
from fornada.errors import StoreRefusedError
from fornada.settings import Settings
from fornada.storage.interface import StoreProperty
from fornada.storage.s3.client import Boto
from fornada.storage.s3.conditions import WRITERS
from fornada.storage.s3.limits import Limits
from fornada.storage.s3.store import S3ObjectStore

_BODY = b"0123456789"


def store_report(settings: Settings) -> Iterator[StoreProperty]:
    """Try each property; throwaway objects are deleted, and what the race found is kept.

    Raises:
        StoreError: The store cannot be reached, or refuses.
    """
    store = S3ObjectStore.from_settings(settings)
    boto = Boto(settings, Limits())
    # First, for its errors are translated.
    now = store.server_time()
    yield StoreProperty("time", now.isoformat())
    yield StoreProperty("server", _server(boto, settings.s3_bucket))
    url = boto.wire().url_of(settings.s3_bucket)
    yield StoreProperty("requests", "boto3 alone, for a proxy" if url is None else f"fast, {url}")
    yield from _objects(store)
    found = store.probe()
    yield StoreProperty("a second conditional put", "refused" if found.winners else "taken")
    raced = f"{found.winners} of {WRITERS} created the object" if found.winners else "not tried"
    yield StoreProperty("conditional puts at once", raced)
    decides = "the store" if found.honoured else "Redis, and reading back"
    yield StoreProperty("outcomes are decided by", decides)
    yield StoreProperty("versions", _versions(boto, settings.s3_bucket))
    yield StoreProperty("Object Lock", _lock(boto, settings.s3_bucket))


def _objects(store: S3ObjectStore) -> Iterator[StoreProperty]:
    prefix = keys.probe()
    names = [f"{prefix}/{name}" for name in ("b", "a/1", "a-b", "B")]
    try:
        for name in names:
            store.put(name, _BODY)
        read = {store.get(name).data for name in names}
        yield StoreProperty("reads after writes", "yes" if read == {_BODY} else "no")
        try:
            listed = [info.key for info in store.list(prefix)]
            order = "in key order" if listed == sorted(names) else "not what was written"
        except StoreRefusedError as exc:
            order = f"refused: {exc}"
        yield StoreProperty("listing", order)
        try:
            part = store.get_range(names[0], first_byte=3, size_bytes=4).data
            ranges = "honoured" if part == _BODY[3:7] else "wrong"
        except StoreRefusedError as exc:
            ranges = f"refused: {exc}"
        yield StoreProperty("ranges", ranges)
    finally:
        for name in names:
            store.delete(name)


def _server(boto: Boto, bucket: str) -> str:
    answer = boto.client.head_bucket(Bucket=bucket)
    return str(answer["ResponseMetadata"]["HTTPHeaders"].get("server", "does not say"))


def _versions(boto: Boto, bucket: str) -> str:
    try:
        status = boto.client.get_bucket_versioning(Bucket=bucket).get("Status")
    except ClientError as exc:
        return _unknown(exc)
    return "none" if status is None else f"{status.lower()}; deleted objects are kept as versions"


def _lock(boto: Boto, bucket: str) -> str:
    try:
        answer: Any = boto.client.get_object_lock_configuration(Bucket=bucket)
    except ClientError as exc:
        return _unknown(exc)
    lock = answer.get("ObjectLockConfiguration", {})
    if lock.get("ObjectLockEnabled") != "Enabled":
        return "none"
    kept = lock.get("Rule", {}).get("DefaultRetention")
    if kept is None:
        return "enabled, without a default retention"
    length = f"{kept['Days']} days" if "Days" in kept else f"{kept['Years']} years"
    return f"{kept['Mode'].lower()}, {length}; puts carry a checksum"


def _unknown(exc: ClientError) -> str:
    code = str(exc.response.get("Error", {}).get("Code", ""))
    return "none" if "NotFound" in code else f"unknown ({code})"
