"""Records that others may have written are read up to a size, whatever lies there."""

from collections.abc import Callable

import pytest

from fornada.errors import MessageError
from fornada.jobs.bucket_id import BucketCheck
from fornada.jobs.store import JobStore
from fornada.records import MAX_JSON_BYTES, MAX_SMALL_JSON_BYTES
from fornada.storage.checked_reads import read_bounded
from fornada.storage.interface import StoredObject
from fornada.storage.memory import InMemoryObjectStore
from fornada.testing import InMemoryCoordination
from model_store.aliases import Aliases
from model_store.manifest import ModelRef
from model_store.store import ModelStore


class _AskedError(Exception):
    """How much of an object was asked for."""


class _Endless(InMemoryObjectStore):
    """A store whose every object has more bytes than there is memory."""

    def get(
        self, key: str, *, bucket: str | None = None, max_bytes: int | None = None
    ) -> StoredObject:
        raise _AskedError(max_bytes)


def test_an_object_of_more_bytes_than_a_record_has_is_refused() -> None:
    objects = InMemoryObjectStore()
    objects.put("k", b"12345")

    assert b"12345" == read_bounded(objects, "k", most_bytes=5)
    with pytest.raises(MessageError, match="k has over 4 bytes"):
        read_bounded(objects, "k", most_bytes=4)


OBJECTS = _Endless()
OBJECTS.put("models/m/1/manifest.json", b"")
OBJECTS.put("models/m/aliases/prod/00000001.json", b"")
JOBS, MODELS = JobStore(objects=OBJECTS), ModelStore(objects=OBJECTS)
BUCKET = BucketCheck(objects=OBJECTS, coordination=InMemoryCoordination(), place="here")


@pytest.mark.parametrize(
    ("read", "most_bytes"),
    [
        (lambda: JOBS.manifest("job"), MAX_JSON_BYTES),
        (lambda: JOBS.final("job"), MAX_JSON_BYTES),
        (lambda: JOBS.outcome("job", 3), MAX_JSON_BYTES),
        (lambda: JOBS.cancel_request("job"), MAX_SMALL_JSON_BYTES),
        (BUCKET.check, MAX_SMALL_JSON_BYTES),
        (lambda: Aliases(objects=OBJECTS).version("m", "prod"), MAX_SMALL_JSON_BYTES),
        (lambda: MODELS.resolve(ModelRef(name="m", version=1)), 64 * 1024 * 1024),
    ],
    ids=["manifest", "end", "outcome", "cancel", "bucket", "alias", "model"],
)
def test_no_more_is_read_than_a_record_may_have(
    read: Callable[[], object], most_bytes: int
) -> None:
    with pytest.raises(_AskedError) as asked:
        read()

    assert (most_bytes + 1,) == asked.value.args
