"""What is a message on the queue, and what is not."""

import json

import hypothesis.strategies as st
import pytest
from hypothesis import given

from fornada.errors import MessageError
from fornada.queue.envelope import MAX_ENVELOPE_BYTES, new_envelope, open_envelope, open_held
from fornada.queue.message import MAX_BUNDLE, ShardMessage
from fornada.records import MAX_MESSAGE_BYTES, MAX_SHARDS

from ..junk import ELEMENTS, EXAMPLES, GOOD, body_of, envelope
from .rig.fuzzing import FUZZED, little_memory, obeyed

MESSAGE = ShardMessage(job_id="no-such-job", shard=0)

#: What libraries that speak Celery's protocol write, beside the page's own envelope.
FOREIGN = {
    "as the page says": envelope(),
    "Celery's own": envelope(
        body_of(GOOD, embedded={"callbacks": None, "errbacks": None, "chain": None, "chord": None}),
        headers={
            "shadow": None,
            "eta": None,
            "expires": None,
            "group": None,
            "group_index": None,
            "retries": 0,
            "timelimit": [None, None],
            "parent_id": None,
            "argsrepr": "the caller's",
            "origin": "gen1@host",
            "ignore_result": True,
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        },
    ),
    "plain text": envelope(body=None, properties={"body_encoding": None})
    | {"body": body_of(GOOD).decode()},
    "redelivered": envelope(properties={"redelivered": True}, redelivered=True),
    "no encoding": envelope(without="content-encoding"),
}


def test_documented_envelopes_are_messages_and_nothing_of_their_headers_survives() -> None:
    for name, foreign in FOREIGN.items():
        messages, _traceparent = open_envelope(json.dumps(foreign).encode())
        anew = json.loads(new_envelope(messages, queue="q"))

        assert [MESSAGE] == messages == open_envelope(json.dumps(anew).encode()).messages, name
        assert {"lang", "task", "id", "root_id", "argsrepr", "kwargsrepr"} == set(anew["headers"])
        assert foreign["headers"]["id"] != anew["headers"]["id"]
        assert foreign["properties"]["delivery_tag"] != anew["properties"]["delivery_tag"]
        assert {"exchange": "", "routing_key": "q"} == anew["properties"]["delivery_info"]


def test_a_bundle_of_the_largest_messages_fits() -> None:
    # Each character is 12 bytes of JSON.
    largest = ShardMessage(
        schema_version=2,
        job_id="j" * 128,
        shard=MAX_SHARDS - 1,
        manifest="\U0001f600" * MAX_MESSAGE_BYTES,
    )
    raw = json.dumps(envelope(largest.model_dump(mode="json", exclude_none=True))).encode()

    assert len(raw) < MAX_ENVELOPE_BYTES
    assert [largest] == open_envelope(raw).messages
    most = [MESSAGE] * MAX_BUNDLE
    assert most == open_envelope(new_envelope(most, queue="q")).messages


def test_a_traceparent_goes_on_and_what_is_none_is_left_out() -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    zeros = "00-" + "0" * 32 + traceparent[35:]
    others = [None, "", traceparent[:-1], traceparent + "\n", traceparent.upper(), zeros]
    others += ["ff" + traceparent[2:], [traceparent], {"a": traceparent}, 1, "0" * 60_000]

    found = open_envelope(json.dumps(envelope(headers={"traceparent": traceparent})).encode())
    anew = json.loads(new_envelope(found.messages, queue="q", traceparent=found.traceparent))

    assert ([MESSAGE], traceparent) == found == open_envelope(json.dumps(anew).encode())
    assert ("q", found) == open_held(json.dumps([anew, "", "q"]).encode())
    for other in others:
        raw = json.dumps(envelope(headers={"traceparent": other})).encode()
        assert ([MESSAGE], None) == open_envelope(raw), other


def test_anything_else_is_refused_with_a_reason_that_shows_no_value() -> None:
    for name, raw in EXAMPLES.items():
        with little_memory(), pytest.raises(MessageError) as refused:
            print(name, open_envelope(raw))  # noqa: T201 - what was not refused

        reason = str(refused.value)
        assert len(reason) < 1000, name
        assert reason.isprintable(), name
        assert "no-such-job" not in reason, name


def test_an_element_beyond_the_size_is_not_parsed() -> None:
    whole = json.dumps(envelope())

    assert [MESSAGE] == open_envelope(whole.ljust(MAX_ENVELOPE_BYTES).encode()).messages
    with pytest.raises(MessageError, match=f"more than {MAX_ENVELOPE_BYTES}"):
        open_envelope(whole.ljust(MAX_ENVELOPE_BYTES + 1).encode())


@given(raw=ELEMENTS)
@FUZZED
def test_whatever_lies_on_the_queue_is_messages_or_refused(raw: bytes) -> None:
    found = obeyed(lambda: open_envelope(raw), MessageError)

    assert (
        found is None
        or found.messages == open_envelope(new_envelope(found.messages, queue="q")).messages
    )


@given(raw=ELEMENTS, queue=st.sampled_from(["fornada", "fornada:unacked", "", "a/b", None, 1, []]))
@FUZZED
def test_whatever_is_filed_as_taken_is_messages_of_a_queue_or_refused(
    raw: bytes, queue: object
) -> None:
    try:
        inner = json.loads(raw)
    except (ValueError, RecursionError):
        inner = raw.decode(errors="replace")
    for held in (raw, json.dumps([inner, "", queue]).encode()):
        found = obeyed(lambda: open_held(held), MessageError)  # noqa: B023 - called at once

        assert found is None or ("fornada", open_envelope(raw)) == found


def test_taken_messages_are_read_as_kombu_files_them() -> None:
    whole = json.loads(new_envelope([MESSAGE], queue="other"))

    held = json.dumps([whole, "", "other"]).encode()

    assert ("other", ([MESSAGE], None)) == open_held(held)
    for queue in ("fornada:unacked", "unacked index", "", None, ["other"]):
        with pytest.raises(MessageError):
            open_held(json.dumps([whole, "", queue]).encode())
