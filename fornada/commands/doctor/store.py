"""What `fornada doctor` asks the object store."""

import os
from collections.abc import Iterator
from dataclasses import asdict

from fornada import keys
from fornada.commands.doctor.finding import Finding
from fornada.commands.output import print_json, print_table
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.storage.opening import report_on_store


def store_findings(objects: ObjectStore, *, create_bucket: bool) -> Iterator[Finding]:
    """Whether the bucket takes, returns, lists and deletes an object, and honours conditions.

    Raises:
        StoreError: It cannot be reached, or refuses.
    """
    if create_bucket:
        objects.create_bucket()
    key, body = keys.probe(), os.urandom(1024)
    objects.put(key, body)
    try:
        consistent = objects.get(key).data == body and [o.key for o in objects.list(key)] == [key]
    finally:
        objects.delete(key)
    if not consistent:
        yield Finding(
            "store",
            "fail",
            f"{objects.endpoint} does not list or return what was just written; use a store "
            "with read-after-write consistency",
        )
        return
    yield Finding("store", "ok", f"{objects.endpoint} writes, reads, lists and deletes")
    if objects.conditional_writes:
        detail = "If-None-Match: * is honoured; the store decides outcomes"
    else:
        detail = "If-None-Match: * is ignored; outcomes are settled by reading back"
    yield Finding("conditional writes", "ok", detail)


def show_store(settings: Settings, *, as_json: bool) -> None:
    """Print what the store can do, as a table or as JSON."""
    found = list(report_on_store(settings))
    if as_json:
        bucket = {"endpoint": settings.s3_endpoint_url, "bucket": settings.s3_bucket}
        print_json({**bucket, "properties": [asdict(one) for one in found]})
    else:
        print_table([(one.name, one.answer) for one in found], header=("store", "answer"))
