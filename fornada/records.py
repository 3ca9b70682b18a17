"""What crosses a process border: the message, and the JSON objects of a job."""

import base64
import hashlib
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from fornada.errors import IntegrityError, MessageError

SCHEMA_VERSION: Literal[1] = 1

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Dtype = Literal["uint8", "float32", "int32"]
#: The first version that has bytes in place of objects; the older one is written where none are.
INLINE_VERSION: Literal[2] = 2
#: Bytes of a job's inputs together, and of a shard's result, that are not made objects of.
MAX_INLINE_BYTES = 64 * 1024
#: Of a queue's message; base64 around it makes a third more.
MAX_MESSAGE_BYTES = 64 * 1024

#: What a model's outputs are: a probability for each class, or values.
Task = Literal["classification", "regression"]
#: Far more than any caller needs, and little enough to be read whole.
MAX_JSON_BYTES = 512 * 1024 * 1024
#: A manifest of more shards would have more bytes than that.
MAX_SHARDS = 4_000_000


def now() -> datetime:
    """The present moment in UTC, for stamps; durations use a monotonic clock."""
    return datetime.now(UTC)


class Record(BaseModel):
    """Base of everything that is written as JSON: frozen, strict, no unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    def to_json(self) -> bytes:
        """The record as UTF-8 JSON."""
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def from_json(cls, data: bytes, *, where: str) -> Self:
        """Parse `data`, which was read from `where`.

        Raises:
            MessageError: It is not JSON, or not this record; says which field is wrong.
        """
        if len(data) > MAX_JSON_BYTES:
            raise MessageError(f"{where} has {len(data)} bytes, more than {MAX_JSON_BYTES}")
        try:
            return cls.model_validate_json(data)
        except ValidationError as exc:
            raise _message_error(cls, exc, where) from exc

    @classmethod
    def from_plain(cls, data: object, *, where: str) -> Self:
        """Check an already decoded JSON value, which came from `where`.

        Raises:
            MessageError: It is not this record; says which field is wrong.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as exc:
            raise _message_error(cls, exc, where) from exc


def _message_error(record: type[Record], exc: ValidationError, where: str) -> MessageError:
    problems = "; ".join(
        f"{'.'.join(str(part) for part in error['loc'])[:200] or 'body'}: {error['msg'][:200]}"
        for error in exc.errors(include_url=False, include_input=False)[:3]
    )
    return MessageError(
        f"{where} is not a valid {record.__name__} of a known schema version: {problems}; "
        "write it as docs/reference/messages.md says, or upgrade the older side"
    )


def refuse_in_version_1(record: Record, name: str, *, given: bool) -> None:
    """A field of version 2 in a record of version 1 is an unknown field."""
    if given and record.schema_version == SCHEMA_VERSION:  # type: ignore[attr-defined]  # of all that ask
        raise ValueError(f"version {SCHEMA_VERSION} has no {name}")


class ModelPin(Record):
    """The exact model that a job runs on; never an alias, which may move."""

    name: Name
    version: int = Field(ge=1)
    #: Digest of the `.keras` artifact.
    sha256: Sha256

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"


class ObjectRef(Record):
    """An object that a shard reads or gives, or, where it is small, the bytes themselves."""

    key: str = Field(min_length=1)
    #: Another bucket of the same store; left out for Fornada's own.
    bucket: str | None = None
    size_bytes: int = Field(ge=0)
    #: For inputs that Fornada stored; checked before use.
    sha256: Sha256 | None = None
    #: For objects of others; checked before use, so that a changed object is noticed.
    etag: str | None = None
    #: The bytes in base64; then there is no object under the key.
    inline: str | None = Field(max_length=4 * -(-MAX_INLINE_BYTES // 3), default=None)

    @classmethod
    def of(
        cls, key: str, data: bytes, *, sha256: Sha256 | None = None, inline: bool = False
    ) -> Self:
        """`data`, which somebody puts under `key`, or which is written here in its place.

        Args:
            key: Where it lies, or would.
            data: The bytes.
            sha256: Of them, where that is known already.
            inline: Write them here.
        """
        return cls(
            key=key,
            size_bytes=len(data),
            sha256=sha256 or hashlib.sha256(data).hexdigest(),
            inline=base64.b64encode(data).decode() if inline else None,
        )

    def inline_bytes(self) -> bytes | None:
        """The bytes that are written here; nothing where there is an object.

        Raises:
            IntegrityError: They are not base64.
        """
        if self.inline is None:
            return None
        try:
            return base64.b64decode(self.inline, validate=True)
        except ValueError as exc:
            raise IntegrityError(f"{self.key} is not base64 ({exc}); submit it again") from exc


class AliasMove(Record):
    """`aliases/<alias>/<number>.json`: one move of an alias; the last of them counts."""

    schema_version: Literal[1] = SCHEMA_VERSION
    version: int = Field(ge=1)
    moved_at: AwareDatetime
    #: It goes back to an earlier version; the moves since then no longer count as earlier ones.
    rollback: bool = False


def sha256_hex(data: bytes | memoryview) -> str:
    """The sha256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()
