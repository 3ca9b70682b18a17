"""Records: what is written is read back, and nothing else is obeyed."""

import hashlib
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone

import jsonschema
import pytest

from fornada.commands.schemas import PUBLIC_RECORDS, json_schemas
from fornada.errors import IntegrityError, MessageError
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import CancelRequest, JobFinal, ShardOutcome
from fornada.jobs.shard_inputs import ShardInput, Shards
from fornada.queue.message import ShardMessage
from fornada.records import (
    MAX_INLINE_BYTES,
    MAX_SHARDS,
    AliasMove,
    ItemError,
    ModelPin,
    ObjectRef,
    Record,
)

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SHA = "0123456789abcdef" * 4
REF = ObjectRef(key="jobs/job/input/0.npy", size_bytes=7, sha256=SHA)
PIN = ModelPin(name="m", version=3, sha256=SHA)
MANIFEST = JobManifest(
    job_id="job",
    model=PIN,
    item_shape=[28, 28],
    item_dtype="uint8",
    classes=["a", "ß", "日"],
    shards=[
        ShardInput(objects=[REF], item_count=4, item_ids=REF),
        ShardInput(
            format="image",
            objects=[ObjectRef(key="x.png", bucket="theirs", size_bytes=0, etag='"e"')],
            item_count=1,
        ),
    ],
    max_attempts=5,
    created_at=AT,
    deadline=AT,
    tags={"team": "vision"},
)
OUTCOME = ShardOutcome(
    job_id="job",
    shard=1,
    status="ok",
    attempt="a1",
    data=REF,
    item_count=4,
    item_errors=[ItemError(index=2, reason="NaN")],
    model_sha256=SHA,
    engine="tensorflow 2.21.0",
    tile_items=1024,
    worker="host-7",
    began_at=AT,
    committed_at=AT,
    fetch_s=0.1,
    predict_s=0.2,
    upload_s=0.3,
)
FINAL = JobFinal(
    job_id="job",
    state="SUCCEEDED",
    ended_at=AT,
    last_outcome_at=AT,
    shards_ok=2,
    shards_dead=0,
    shards_missing=0,
    items_ok=4,
    items_failed=1,
    outcome_ranges=[[0, 1]],
    outcomes_sha256=SHA,
)
INLINE = ObjectRef.of("inline/0.npy", b"pixels", inline=True)
#: With bytes in place of objects.
SMALL_MANIFEST = MANIFEST.model_copy(
    update={
        "schema_version": 2,
        "shards": Shards([ShardInput(objects=[INLINE], item_count=4, item_ids=INLINE)]),
        "nonce": "0123",
    }
)
SMALL_OUTCOME = OUTCOME.model_copy(update={"schema_version": 2, "data": INLINE})
RECORDS = [
    ShardMessage(job_id="job", shard=3),
    ShardMessage(schema_version=2, job_id="job", shard=3, manifest="{}"),
    SMALL_MANIFEST,
    SMALL_OUTCOME,
    FINAL.model_copy(update={"schema_version": 2, "outcome": SMALL_OUTCOME}),
    MANIFEST,
    OUTCOME,
    OUTCOME.model_copy(update={"status": "dead", "data": None, "reason": "input", "detail": "x"}),
    CancelRequest(requested_at=AT, reason="enough"),
    FINAL,
    AliasMove(version=1, moved_at=AT),
    AliasMove(version=1, moved_at=AT, rollback=True),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_what_is_written_is_read_back(record: Record) -> None:
    assert record == type(record).from_json(record.to_json(), where="here")


@pytest.mark.parametrize(
    "ranges",
    [[[0, 10**18]], [[3, 2]], [[-1, 0]], [[0, 1], [1, 2]], [[5, 6], [0, 1]], [[0]], [[0, 1, 2]]],
    ids=str,
)
@pytest.mark.parametrize("field", ["outcome_ranges", "dead_ranges"])
def test_ranges_that_are_no_set_of_shards_are_refused_before_they_are_counted(
    field: str, ranges: list[list[int]]
) -> None:
    written = FINAL.model_copy(update={field: ranges}).to_json()

    with pytest.raises(MessageError, match=field):
        JobFinal.from_json(written, where="final.json")


@pytest.mark.parametrize(
    "record",
    [record for record in RECORDS if type(record) in PUBLIC_RECORDS.values()],
    ids=lambda record: type(record).__name__,
)
def test_what_is_written_fits_the_published_schema(record: Record) -> None:
    import json  # noqa: PLC0415 - beside its one use

    name = next(n for n, kind in PUBLIC_RECORDS.items() if kind is type(record))
    schema = json_schemas()[name]

    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(record.to_json()), schema)


@pytest.mark.parametrize(
    "record",
    [record for record in RECORDS if getattr(record, "schema_version", 1) == 2],
    ids=lambda record: type(record).__name__,
)
def test_version_1_knows_nothing_of_bytes_in_place_of_objects(record: Record) -> None:
    text = record.to_json().replace(b'"schema_version":2', b'"schema_version":1')

    with pytest.raises(MessageError, match="version 1 has no"):
        type(record).from_json(text, where="here")


def test_a_final_of_version_1_has_no_outcome() -> None:
    text = FINAL.to_json()[:-1] + b',"outcome":' + OUTCOME.to_json() + b"}"

    with pytest.raises(MessageError, match="version 1 has no outcome"):
        JobFinal.from_json(text, where="here")


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)), bytes(MAX_INLINE_BYTES)])
def test_bytes_in_place_of_an_object_come_back(data: bytes) -> None:
    ref = ObjectRef.of("key", data, inline=True)

    assert data == ref.inline_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (ref.size_bytes, ref.sha256)
    assert ref == ObjectRef.from_json(ref.to_json(), where="here")


def test_an_object_has_no_bytes_beside_it() -> None:
    assert ObjectRef.of("key", b"data").inline_bytes() is None


@pytest.mark.parametrize("text", ["?", "YQ", "YQ==\n", "-_-_", "YWI=YWI="])
def test_what_is_not_base64_is_refused_when_it_is_read(text: str) -> None:
    ref = ObjectRef(key="key", size_bytes=1, inline=text)

    with pytest.raises(IntegrityError, match="not base64"):
        ref.inline_bytes()


def test_more_bytes_than_may_be_inline_are_refused_before_they_are_decoded() -> None:
    text = ObjectRef.of("key", b"").to_json()[:-1] + b',"inline":"' + b"A" * 10**6 + b'"}'

    with pytest.raises(MessageError, match="inline"):
        ObjectRef.from_json(text, where="here")


def test_a_message_of_the_longest_id_stays_under_a_kilobyte() -> None:
    assert 1024 > len(ShardMessage(job_id="j" * 128, shard=MAX_SHARDS - 1).to_json())


def test_times_keep_microseconds_and_offset() -> None:
    offset = timezone(timedelta(hours=5, minutes=30))
    request = CancelRequest(requested_at=AT.astimezone(offset), reason="x")

    read = CancelRequest.from_json(request.to_json(), where="here")

    assert AT == read.requested_at


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ('"job_id":"job","more":1', "more"),
        ('"job_id":"job","schema_version":4', "schema_version"),
        ('"job_id":"job","schema_version":"1"', "schema_version"),
        ('"job_id":7', "job_id"),
        ('"job_id":"a/b"', "job_id"),
        ('"job_id":".hidden"', "job_id"),
        ('"job_id":""', "job_id"),
        ('"job_id":"job","item_dtype":"object"', "item_dtype"),
        ('"job_id":"job","item_shape":"28"', "item_shape"),
        ('"job_id":"job","item_shape":[28.5]', "item_shape.0"),
        ('"job_id":"job","shards":[]', "shards"),
        ('"job_id":"job","shards":[{"objects":[],"item_count":1}]', "shards.0.objects"),
        ('"job_id":"job","max_attempts":0', "max_attempts"),
        ('"job_id":"job","max_attempts":101', "max_attempts"),
        ('"job_id":"job","max_attempts":"5"', "max_attempts"),
        ('"job_id":"job","created_at":"yesterday"', "created_at"),
        ('"job_id":"job","created_at":"2026-01-01T00:00:00"', "created_at"),
        ('"job_id":"job","deadline":"2026-01-01T00:00:00"', "deadline"),
        ('"job_id":"job","tags":{"a":1}', "tags.a"),
        ('"job_id":"job","model":{"name":"m","version":0,"sha256":""}', "model.version"),
        ('"job_id":"job","model":{"name":"m","version":1,"sha256":"abc"}', "model.sha256"),
        # What arithmetic would fail on, in whoever reads the job.
        (f'"shards":[{{"objects":[],"item_count":{2**31}}}]', "shards.0.item_count"),
        (f'"shards":[{{"objects":[],"first_item":{2**63}}}]', "shards.0.first_item"),
        (f'"model":{{"version":1{"0" * 400}}}', "model.version"),
        ('"created_at":"9999-12-30T00:00:00Z"', "created_at"),
        ('"classes":[]', "classes"),
        (f'"item_shape":{[1] * 33}', "item_shape"),
    ],
)
def test_a_wrong_field_is_refused_and_named(change: str, field: str) -> None:
    # The last of two equal names is the one that is read.
    text = MANIFEST.to_json().decode()[:-1] + "," + change + "}"

    with pytest.raises(MessageError, match="not a valid JobManifest") as caught:
        JobManifest.from_json(text.encode(), where="jobs/job/manifest.json")

    assert f" {field}: " in str(caught.value)
    assert "jobs/job/manifest.json" in str(caught.value)
    assert "docs/reference/messages.md" in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b"\xff\xfe",
        b'{"job_id": "\xff", "shard": 1}',
        b'{"job_id": "\\ud800", "shard": 1}',
        b'{"job_id": "job", "shard": NaN}',
        b'{"job_id": "job", "shard": 1e3}',
        b'{"job_id": "job", "shard": ' + b"9" * 10_000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda data: repr(data[:30]),
)
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(MessageError, match="not a valid ShardMessage"):
        ShardMessage.from_json(data, where="here")


def test_the_error_stays_short_whatever_was_sent() -> None:
    data = b'{"job_id": "job", "shard": 1, "' + b"x" * 1_000_000 + b'": 1}'

    with pytest.raises(MessageError) as caught:
        ShardMessage.from_json(data, where="here")

    assert 1000 > len(str(caught.value))


def test_a_message_does_not_show_other_values_than_it_must() -> None:
    with pytest.raises(MessageError) as caught:
        ShardMessage.from_plain({"job_id": "job", "shard": "hunter2"}, where="here")

    assert "hunter2" not in str(caught.value)


def test_negative_times_are_no_outcome() -> None:
    with pytest.raises(MessageError, match="predict_s"):
        ShardOutcome.from_json(
            OUTCOME.to_json().replace(b'"predict_s":0.2', b'"predict_s":-1.0'), where="here"
        )


def test_records_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        FINAL.state = "FAILED"


def test_a_manifest_counts_its_items() -> None:
    assert 5 == MANIFEST.item_count


def test_a_pin_is_written_as_callers_write_it() -> None:
    assert "m:3" == str(PIN)


def test_every_public_record_has_a_schema_that_refuses_more() -> None:
    schemas = json_schemas()

    assert set(PUBLIC_RECORDS) == set(schemas)
    for schema in schemas.values():
        assert schema["additionalProperties"] is False


def test_shards_are_read_one_by_one_and_as_a_slice() -> None:
    # given
    specs = [ShardInput(objects=[REF], item_count=count) for count in (4, 1, 3)]

    # when
    shards = Shards(specs)

    # then
    assert specs == list(shards) == shards[:]
    assert specs[-1] == shards[-1]
    assert specs[1:] == shards[1:]
    assert [4, 1, 3] == list(shards.item_counts)
    with pytest.raises(IndexError):
        shards[3]


def test_shards_without_numbers_of_their_own_count_on() -> None:
    # given a shard that is tried again, between two that are not
    specs = [
        ShardInput(objects=[REF], item_count=4),
        ShardInput(objects=[REF], item_count=2, first_item=70),
        ShardInput(objects=[REF], item_count=1),
    ]

    # when
    shards = Shards(specs)

    # then
    assert [0, 4, 6] == shards.starts
    assert [0, 70, 6] == shards.first_items


def test_what_shards_select_is_counted_without_a_list_of_it() -> None:
    # given
    selected = [[0, MAX_SHARDS - 1]]
    shard = ShardInput(objects=[REF], item_count=MAX_SHARDS, selected=selected)

    # when
    tracemalloc.start()
    read = ShardInput.from_json(shard.to_json(), where="here")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # then
    assert shard == read
    assert peak_bytes < MAX_SHARDS
    with pytest.raises(ValueError, match=f"{MAX_SHARDS} items are selected, not 5"):
        ShardInput(objects=[REF], item_count=5, selected=selected)


def test_many_shards_take_little_more_memory_than_their_json() -> None:
    # given
    specs = (ShardInput(objects=[REF], item_count=1, first_item=i) for i in range(2_000))
    data = MANIFEST.model_copy(update={"shards": Shards(specs)}).to_json()

    # when
    tracemalloc.start()
    manifest = JobManifest.from_json(data, where="here")
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # then
    assert 2_000 == len(manifest.shards)
    assert held_bytes < 2 * len(data)
