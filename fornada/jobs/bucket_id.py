"""Whether Redis and the bucket belong to one deployment: an id in the bucket, a stamp in Redis."""

import hashlib
import threading
import uuid
from typing import Literal, Protocol, Self

from fornada import keys
from fornada.coordination.interface import Decisions, OpenJobs
from fornada.errors import ForeignBucketError, MessageError, ObjectNotFoundError, StoreRefusedError
from fornada.logs import get_logger
from fornada.records import MAX_SMALL_JSON_BYTES, SCHEMA_VERSION, Record
from fornada.redis_server import keys as redis_keys
from fornada.settings import Settings
from fornada.storage.checked_reads import read_bounded
from fornada.storage.interface import ObjectStore

log = get_logger(__name__)


class BucketId(Record):
    """`jobs/bucket-id.json`, and the stamp in Redis."""

    schema_version: Literal[1] = SCHEMA_VERSION
    id: str
    #: Where the bucket was when it got its id, for messages.
    place: str


class _Coordination(OpenJobs, Decisions, Protocol):
    """What is asked of Redis."""


class BucketCheck:
    """Finds two buckets on one Redis database: each would drop the other's messages for ever.

    Both marks are made by whoever misses them, so old deployments get them, and an emptied Redis
    gets its stamp back.
    """

    def __init__(self, *, objects: ObjectStore, coordination: _Coordination, place: str) -> None:
        """Compare the two.

        Args:
            objects: The bucket.
            coordination: Redis.
            place: The bucket's name and address, for messages.
        """
        self._objects = objects
        self._coordination = coordination
        self._place = place
        self._lock = threading.Lock()
        self._is_checked = False

    @classmethod
    def from_settings(
        cls, settings: Settings, *, objects: ObjectStore, coordination: _Coordination
    ) -> Self:
        """The check of a deployment."""
        place = f"{settings.s3_bucket!r} at {settings.s3_endpoint_url or 'AWS'}"
        return cls(objects=objects, coordination=coordination, place=place)

    def check_once(self) -> None:
        """As `check`, unless that has found nothing wrong before."""
        with self._lock:
            if not self._is_checked:
                self.check()
                self._is_checked = True

    def check(self) -> None:
        """Stamp Redis with the bucket's id, or compare it with the stamp.

        Raises:
            ForeignBucketError: Redis belongs to another bucket.
            BrokerError, StoreError: One of them cannot be asked.
        """
        ours = self._id()
        if ours is not None:
            self._compare(ours, self._coordination.stamp(ours.to_json()))

    def look(self) -> None:
        """As `check`, and leaves no mark."""
        stamp = self._coordination.stamped()
        if stamp is not None:
            # A bucket without an id has never been used.
            ours = self._read() or BucketId(id="", place=self._place)
            self._compare(ours, stamp)

    def _compare(self, ours: BucketId, stamp: bytes) -> None:
        try:
            theirs = BucketId.from_json(stamp, where=f"Redis key {redis_keys.BUCKET}")
        except MessageError as exc:
            raise ForeignBucketError(f"{exc}; or {_ADOPT}") from exc
        if theirs.id != ours.id:
            raise ForeignBucketError(
                f"Redis belongs to bucket {theirs.place}, and this process uses {self._place}; "
                f"give each bucket a Redis database of its own (FORNADA_REDIS_URL), or {_ADOPT}"
            )

    def adopt(self) -> None:
        """Have Redis belong to this bucket from now on."""
        ours = self._id()
        if ours is not None:
            self._coordination.stamp(ours.to_json(), replace=True)

    def _id(self) -> BucketId | None:
        """The bucket's id, which it gets now if it has none; `None` if we may not ask for it."""
        try:
            return self._read() or self._made()
        except StoreRefusedError as exc:
            # The permission may be for other keys; what the process needs, it finds out itself.
            log.debug("bucket not compared with Redis", error=str(exc))
            return None

    def _read(self) -> BucketId | None:
        try:
            data = read_bounded(self._objects, keys.BUCKET_ID, most_bytes=MAX_SMALL_JSON_BYTES)
        except ObjectNotFoundError:
            return None
        return BucketId.from_json(data, where=keys.BUCKET_ID)

    def _made(self) -> BucketId | None:
        new = BucketId(id=uuid.uuid4().hex, place=self._place).to_json()
        if not self._objects.conditional_writes:
            # Of two that make one at once, both write the same.
            name = hashlib.sha256(self._place.encode()).hexdigest()[:16]
            new = self._coordination.decide(f"bucket-id-{name}", new)
        self._objects.put_if_absent(keys.BUCKET_ID, new)
        return self._read()


_ADOPT = "`fornada doctor --adopt` if the bucket moved on purpose"
