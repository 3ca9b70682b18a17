"""The envelope around messages on the queue: what is read of one, and how it is written anew."""

import base64
import uuid
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, Field
from pydantic_core import from_json, to_json

from fornada import keys
from fornada.errors import MessageError
from fornada.queue.message import MAX_BUNDLE, ShardMessage
from fornada.records import MAX_MESSAGE_BYTES, Name, Record
from fornada.tracing.traceparent import HEADER, checked_traceparent

#: Most bytes of an envelope. A character of a manifest takes at most 12 bytes of JSON
#: (`\ud83d\ude00`), and base64 adds a third.
MAX_ENVELOPE_BYTES = 12 * MAX_MESSAGE_BYTES * 4 // 3 + 64 * 1024

#: Shown in logs instead of the arguments, which may hold the caller's images. Celery shows the
#: arguments themselves where this is empty.
ARGUMENTS_SHOWN = "(not shown)"


class Headers(Record):
    """Celery's headers. Those that would change how a message runs are refused."""

    model_config = ConfigDict(extra="ignore")

    task: Literal["fornada.run_shard"]
    #: A kilobyte may unpack to gigabytes.
    compression: None = None
    #: Celery holds such messages in one worker until their time comes.
    eta: None = None
    expires: None = None
    timelimit: list[None] | None = Field(max_length=2, default=None)
    retries: Literal[0] | None = None
    chord: None = None
    #: Whatever stands there: one that is none is left out.
    traceparent: Any = None


class Properties(Record):
    """kombu's properties, of which the body's encoding alone is needed."""

    model_config = ConfigDict(extra="ignore")

    body_encoding: Literal["base64", "utf-8"] | None = None


class Envelope(Record):
    """An element of the queue, as docs/reference/messages.md says."""

    model_config = ConfigDict(extra="ignore")

    body: str
    content_type: Literal["application/json"] = Field(alias="content-type")
    content_encoding: Literal["utf-8", "UTF-8"] | None = Field(
        alias="content-encoding", default=None
    )
    headers: Headers
    properties: Properties


class EmbeddedTasks(Record):
    """The body's third part, with which Celery asks for more tasks."""

    callbacks: None = None
    errbacks: None = None
    chain: None = None
    chord: None = None


class HeldMessage(Record):
    """A message that a worker has taken, in kombu's hash of unacknowledged messages."""

    envelope: Envelope
    queue: Name


class Bundle(NamedTuple):
    """What a message of the queue asks for."""

    messages: list[ShardMessage]
    #: The span that submitted them.
    traceparent: str | None = None


def open_envelope(raw: bytes) -> Bundle:
    """The messages in an element of the queue.

    Raises:
        MessageError: It is too large, or not what docs/reference/messages.md says. The text shows
            no value of it.
    """
    _check_size(raw, MAX_ENVELOPE_BYTES)
    return _bundle_in(Envelope.from_json(raw, where="envelope"))


def open_held(raw: bytes) -> tuple[str, Bundle]:
    """The queue and the messages of an entry of kombu's hash of unacknowledged messages.

    Raises:
        MessageError: As for `open_envelope`.
    """
    # JSON in JSON: each quotation mark is escaped once more.
    _check_size(raw, MAX_ENVELOPE_BYTES * 2)
    entry = _plain(raw, where="taken message")
    if not isinstance(entry, list) or len(entry) != 3:  # noqa: PLR2004 - the three below
        raise MessageError("a taken message is not [envelope, exchange, routing key]")
    envelope, _exchange, queue = entry
    held = HeldMessage.from_plain({"envelope": envelope, "queue": queue}, where="taken message")
    return held.queue, _bundle_in(held.envelope)


def new_envelope(
    messages: Sequence[ShardMessage], *, queue: str, traceparent: str | None = None
) -> bytes:
    """An element of `queue` with these messages, and nothing of the one that they came in."""
    task_id = str(uuid.uuid4())
    arguments = [message.model_dump(mode="json", exclude_none=True) for message in messages]
    return to_json(
        {
            "body": base64.b64encode(to_json([arguments, {}, {}])),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": keys.TASK_RUN_SHARD,
                "id": task_id,
                "root_id": task_id,
                "argsrepr": ARGUMENTS_SHOWN,
                "kwargsrepr": "{}",
                **({} if traceparent is None else {HEADER: traceparent}),
            },
            "properties": {
                "correlation_id": task_id,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
            },
        }
    )


def messages_of(arguments: object, keywords: object) -> list[ShardMessage]:
    """The messages that are a task's arguments.

    Raises:
        MessageError: There are none or too many, or one is malformed.
    """
    if not isinstance(arguments, list | tuple) or keywords != {}:
        raise MessageError(
            f"the task {keys.TASK_RUN_SHARD} takes a list of arguments and no keywords "
            "(docs/reference/messages.md)"
        )
    if not 1 <= len(arguments) <= MAX_BUNDLE:
        raise MessageError(
            f"the task {keys.TASK_RUN_SHARD} got {len(arguments)} arguments; it takes 1 to "
            f"{MAX_BUNDLE} JSON objects (docs/reference/messages.md)"
        )
    return [ShardMessage.from_plain(argument, where="message") for argument in arguments]


def _bundle_in(envelope: Envelope) -> Bundle:
    body: str | bytes = envelope.body
    if envelope.properties.body_encoding == "base64":
        try:
            body = base64.b64decode(body)
        except ValueError as exc:
            raise MessageError("the envelope's body is not base64") from exc
    parts = _plain(body, where="body")
    if not isinstance(parts, list) or len(parts) != 3:  # noqa: PLR2004 - the three below
        raise MessageError("the envelope's body is not [[message], {}, {}]")
    arguments, keywords, embedded = parts
    EmbeddedTasks.from_plain(embedded, where="the body's third part")
    messages = messages_of(arguments, keywords)
    return Bundle(messages, checked_traceparent(envelope.headers.traceparent))


def _check_size(raw: bytes, most_bytes: int) -> None:
    if len(raw) > most_bytes:
        raise MessageError(f"it has more than {most_bytes} bytes, and a message has no more")


def _plain(data: str | bytes, *, where: str) -> Any:
    try:
        # Not `json`, which fails with a RecursionError on deep nesting.
        return from_json(data)
    except ValueError as exc:
        raise MessageError(f"the {where} is not JSON: {exc}") from exc
