"""What a stranger may push onto the queue, or file among the messages that are taken."""

import base64
import json
import uuid
import zlib
from collections.abc import Mapping
from typing import Any

import hypothesis.strategies as st

from fornada import keys

GOOD = {"schema_version": 1, "job_id": "no-such-job", "shard": 0}
FUTURE = "2036-01-01T00:00:00+00:00"

_TASK = keys.TASK_RUN_SHARD


def body_of(*arguments: object, keywords: object = None, embedded: object = None) -> bytes:
    """The body of a message, before base64."""
    return json.dumps([arguments, keywords or {}, embedded or {}]).encode()


def envelope(
    body: object = None,
    *,
    headers: Mapping[str, object] | None = None,
    properties: Mapping[str, object] | None = None,
    without: str | None = None,
    **parts: object,
) -> dict[str, Any]:
    """A message as docs/reference/messages.md says, or with something changed or left out."""
    raw = body if isinstance(body, bytes) else body_of(GOOD if body is None else body)
    task_id = str(uuid.UUID(int=7))
    whole = {
        "body": base64.b64encode(raw).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "sh", "task": _TASK, "id": task_id, "root_id": task_id}
        | dict(headers or {}),
        "properties": {
            "correlation_id": task_id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "fornada"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": task_id,
        }
        | dict(properties or {}),
        **parts,
    }
    return {name: value for name, value in whole.items() if name != without}


def bomb(mebibytes: int) -> bytes:
    """A message of about a kilobyte for each of the mebibytes that it unpacks to."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(packer.compress(b" " * 2**20) for _ in range(mebibytes)) + packer.flush()
    return json.dumps(envelope(packed, headers={"compression": "application/x-gzip"})).encode()


#: By name: raw bytes, of which each is no message.
BYTES: dict[str, bytes] = {
    "a letter": b"x",
    "nothing": b"",
    "a number": b"5",
    "null": b"null",
    "a list": b"[]",
    "bad UTF-8": b'{"body": "\xff"}',
    "deep nesting": b"[" * 200_000,
    "deep objects": b'{"headers":' * 50_000,
    "a long number": b"9" * 100_000,
    "too large": b'{"body": "' + b"x" * 2_000_000 + b'"}',
    "many lists": b"[" + b"[]," * 300_000 + b"[]]",
    "lone surrogate": b'{"body": "\\ud800"}',
    "NUL": b"\0" * 100,
    "escapes of a terminal": b"\x1b]0;title\x07\x1b[31m",
    "a pickle": b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix",
}

#: By name: envelopes, of which each is no message.
ENVELOPES: dict[str, object] = {
    "headers alone": {"headers": [1]},
    "no properties": envelope(without="properties"),
    "no headers": envelope(without="headers"),
    "no body": envelope(without="body"),
    "no content type": envelope(without="content-type"),
    "headers null": envelope() | {"headers": None},
    "properties null": envelope() | {"properties": None},
    "body null": envelope() | {"body": None},
    "body a list": envelope() | {"body": []},
    "body not base64": envelope() | {"body": "a"},
    "body not ASCII": envelope() | {"body": "\u00e9\U0001f600"},
    "body empty": envelope(b""),
    "body no JSON": envelope(b"{"),
    "body bad UTF-8": envelope(b"\xff\xfe"),
    "body a number": envelope(b"7"),
    "body an object": envelope(b'{"not": "a list"}'),
    "body deep": envelope(b"[" * 100_000),
    "body of protocol 1": envelope(json.dumps({"task": _TASK, "args": [GOOD]}).encode()),
    "body short": envelope(b"[]"),
    "body of an object's parts": envelope(b'{"0": [], "1": {}, "2": {}}'),
    "no message": envelope(body_of()),
    "33 messages": envelope(body_of(*[GOOD] * 33)),
    "keywords": envelope(body_of(GOOD, keywords=GOOD)),
    "callbacks": envelope(body_of(GOOD, embedded={"callbacks": [{"task": "x"}]})),
    "chain": envelope(body_of(GOOD, embedded={"chain": [{"task": _TASK}]})),
    "chord": envelope(body_of(GOOD, embedded={"chord": {"task": _TASK}})),
    "third part a list": envelope(b"[[{}], {}, []]"),
    "more in a message": envelope({**GOOD, "more": 1}),
    "a later version": envelope({**GOOD, "schema_version": 4}),
    "a job outside": envelope({**GOOD, "job_id": "../x"}),
    "a shard as text": envelope({**GOOD, "shard": "0"}),
    "a shard below 0": envelope({**GOOD, "shard": -1}),
    "a shard of no job": envelope({**GOOD, "shard": 4_000_000}),
    "a message that is none": envelope(["x", 0]),
    "manifest too large": envelope({**GOOD, "schema_version": 2, "manifest": "x" * 70_000}),
    "other task": envelope(headers={"task": "fornada.no_such_task"}),
    "task a list": envelope(headers={"task": [_TASK]}),
    "celery.map": envelope(
        json.dumps([[], {"task": {"task": _TASK}, "it": [[GOOD]] * 100}, {}]).encode(),
        headers={"task": "celery.map"},
    ),
    "celery.group": envelope(headers={"task": "celery.group"}),
    "celery.backend_cleanup": envelope(b"[[], {}, {}]", headers={"task": "celery.backend_cleanup"}),
    "eta": envelope(headers={"eta": FUTURE}),
    "eta no time": envelope(headers={"eta": "later"}),
    "expires": envelope(headers={"expires": FUTURE}),
    "expired": envelope(headers={"expires": 0}),
    "retries": envelope(headers={"retries": 3}),
    "time limit": envelope(headers={"timelimit": [1, None]}),
    "chord header": envelope(headers={"chord": {"task": _TASK}}),
    "compression": envelope(headers={"compression": "application/x-gzip"}),
    "compression unknown": envelope(headers={"compression": "x"}),
    "body encoding unknown": envelope(properties={"body_encoding": "rot13"}),
    "body encoding a list": envelope(properties={"body_encoding": [1]}),
    "pickle": envelope(b"\x80\x04", **{"content-type": "application/x-python-serialize"}),
    "YAML": envelope(b"!!python/object:x", **{"content-type": "application/x-yaml"}),
    "content encoding": envelope(**{"content-encoding": "idna"}),
}

#: All of them as bytes, by name.
EXAMPLES: dict[str, bytes] = BYTES | {
    name: json.dumps(part).encode() for name, part in ENVELOPES.items()
}

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([_TASK, "application/json", "base64", "utf-8", "fornada", FUTURE]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*envelope(), *envelope()["headers"], "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
_NAMES = st.sampled_from(
    [
        "task",
        "id",
        "eta",
        "expires",
        "retries",
        "timelimit",
        "group",
        "chord",
        "compression",
        "lang",
    ]
)
_PROPERTIES = st.sampled_from(
    ["body_encoding", "delivery_tag", "delivery_info", "priority", "correlation_id", "reply_to"]
)
_PARTS = st.sampled_from(list(envelope()))
_MESSAGES = st.lists(
    st.dictionaries(st.sampled_from([*GOOD, "manifest", "queue", "x"]), _JSON, max_size=5)
    | _JSON
    | st.just(GOOD),
    max_size=3,
)
_BODIES = st.binary(max_size=60) | st.builds(
    lambda messages, keywords, embedded: json.dumps([messages, keywords, embedded]).encode(),
    _MESSAGES,
    st.just({}) | _JSON,
    st.just({}) | _JSON,
)
_ENVELOPES = st.builds(
    lambda body, headers, properties, parts: json.dumps(
        envelope(body, headers=headers, properties=properties) | parts
    ).encode(),
    _BODIES | st.none(),
    st.dictionaries(_NAMES, _JSON, max_size=3),
    st.dictionaries(_PROPERTIES, _JSON, max_size=3),
    st.dictionaries(_PARTS, _JSON, max_size=2),
)

#: Anything that may lie on the queue; some of it is a message after all.
ELEMENTS: st.SearchStrategy[bytes] = (
    st.binary(max_size=200)
    | st.sampled_from(list(EXAMPLES.values()))
    | _JSON.map(lambda value: json.dumps(value).encode())
    | _ENVELOPES
)
