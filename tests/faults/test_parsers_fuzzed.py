"""Parsers of untrusted bytes return a record or raise our error, in bounded memory.

Arrays, IDX files, images and calls of `predict` are fuzzed beside their readers' other tests.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

import h5py
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from fornada.commands.schemas import PUBLIC_RECORDS
from fornada.errors import IntegrityError, MessageError, ModelRefusedError
from fornada.jobs.ids import message_for, trusted_manifest, with_content_id
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobFinal, ShardOutcome
from fornada.jobs.shard_inputs import ShardInput, Shards
from fornada.jobs.store import JobStore
from fornada.queue.envelope import messages_of
from fornada.queue.message import ShardMessage
from fornada.records import ItemError, ModelPin, ObjectRef, Record
from fornada.repeated import Repeated
from fornada.storage.memory import InMemoryObjectStore
from fornada.tensors import ImagePreprocessing, InputTensor, OutputTensor
from fornada.testing import TEST_KEYS
from model_store.manifest import GoldenBatch, ModelManifest
from model_store.safety.artifact_check import check_artifact

from .rig.fuzzing import EDITS, FUZZED, Edit, edited, little_memory, obeyed

_AT = datetime(2026, 1, 2, tzinfo=UTC)
_SHA = "0123456789abcdef" * 4
_REF = ObjectRef(key="jobs/job/input/0.npy", size_bytes=7, sha256=_SHA)
_INLINE = ObjectRef.of("inline/0.npy", b"pixels", inline=True)

RECORDS: list[Record] = [
    ShardMessage(job_id="job", shard=3),
    JobManifest(
        job_id="job",
        model=ModelPin(name="m", version=3, sha256=_SHA),
        item_shape=[28, 28],
        item_dtype="uint8",
        classes=["a", "b"],
        shards=[ShardInput(objects=[_REF], item_count=4, item_ids=_REF)],
        max_attempts=5,
        created_at=_AT,
        deadline=_AT,
        tags={"team": "vision"},
    ),
    ShardOutcome(
        job_id="job",
        shard=1,
        status="ok",
        attempt="a1",
        data=_REF,
        item_count=4,
        model_sha256=_SHA,
        worker="host-7",
        began_at=_AT,
        committed_at=_AT,
    ),
    JobFinal(
        job_id="job",
        state="SUCCEEDED",
        ended_at=_AT,
        shards_ok=2,
        shards_dead=0,
        shards_missing=0,
        items_ok=4,
        items_failed=1,
        outcome_ranges=[[0, 1]],
        outcomes_sha256=_SHA,
    ),
]
#: With inline bytes in place of objects.
_SMALL = RECORDS[1].model_copy(
    update={
        "schema_version": 2,
        "shards": Shards([ShardInput(objects=[_INLINE], item_count=4, item_ids=_INLINE)]),
        "nonce": "0",
    }
)
_SMALL_OUTCOME = RECORDS[2].model_copy(update={"schema_version": 2, "data": _INLINE})
#: With names for what the model takes and gives, and with image files.
_TAKEN = InputTensor(
    name="photo",
    dtype="float32",
    shape=[None, 224, 3],
    image=ImagePreprocessing(resize="none"),
    fill=0.0,
)
_GIVEN = OutputTensor(
    name="label", shape=[1], kind="binary", classes=["cat", "dog"], threshold=0.25
)
_BROKEN = ItemError(index=1, reason="broken/half.jpg is a broken image")
_PHOTOS = JobManifest(
    schema_version=3,
    job_id="photos",
    model=ModelPin(name="m", version=3, sha256=_SHA),
    inputs=[_TAKEN],
    outputs=[_GIVEN],
    shards=[
        ShardInput(
            format="tar",
            objects=[_REF.part(512, 7, sha256=_SHA)],
            item_count=3,
            index=_REF,
            item_ids=_REF,
            first_item=9,
            selected=[[0, 1], [4, 4]],
            item_errors=[_BROKEN],
        ),
        ShardInput(format="image", objects=[_REF, _REF], item_count=2, item_errors=[_BROKEN]),
    ],
    max_attempts=5,
    created_at=_AT,
    max_failed="12.5%",
    source_job="job",
)
_MODEL = ModelManifest(
    name="m",
    version=3,
    inputs=[_TAKEN],
    outputs=[_GIVEN],
    created_at=_AT,
    artifact=_REF,
    golden=GoldenBatch(inputs=_REF, outputs=_REF),
    files={"report.html": _REF},
)
RECORDS += [
    _PHOTOS,
    _MODEL,
    RECORDS[2].model_copy(
        update={
            "schema_version": 3,
            "item_errors": [_BROKEN],
            "decode_s": 0.25,
            "orientations_ignored": 2,
        }
    ),
    ShardMessage(schema_version=2, job_id="job", shard=0, manifest=_SMALL.to_json().decode()),
    _SMALL,
    _SMALL_OUTCOME,
    RECORDS[3].model_copy(update={"schema_version": 2, "outcome": _SMALL_OUTCOME}),
]
KINDS = sorted({*PUBLIC_RECORDS.values(), ModelManifest}, key=lambda kind: kind.__name__)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=20,
)


@st.composite
def _changed_record(draw: st.DrawFn) -> tuple[type[Record], bytes]:
    """A record with one value, at any depth, replaced by arbitrary JSON."""
    record = draw(st.sampled_from(RECORDS))
    body = json.loads(record.to_json())
    node: Any = body
    while True:
        places = sorted(node) if isinstance(node, dict) else list(range(len(node)))
        place = draw(st.sampled_from(places))
        inner = node[place]
        if not isinstance(inner, dict | list) or not inner or draw(st.booleans()):
            break
        node = inner
    if isinstance(node, dict) and draw(st.booleans()):
        del node[place]
    else:
        node[place] = draw(_JSON)
    return type(record), json.dumps(body).encode()


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    with little_memory():
        yield


# Records.


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.binary(max_size=400) | _JSON.map(lambda value: json.dumps(value).encode()))
@FUZZED
def test_any_bytes_are_a_record_or_refused(kind: type[Record], data: bytes) -> None:
    record = obeyed(lambda: kind.from_json(data, where="here"), MessageError)

    assert record is None or isinstance(record, kind)


@given(record=st.sampled_from(RECORDS), edits=EDITS)
@FUZZED
def test_a_damaged_record_is_a_record_or_refused(record: Record, edits: list[Edit]) -> None:
    damaged = edited(record.to_json(), edits)

    read = obeyed(lambda: type(record).from_json(damaged, where="here"), MessageError)

    # An accepted record survives a round trip.
    assert read is None or read == type(record).from_json(read.to_json(), where="here")


@given(changed=_changed_record())
@FUZZED
def test_a_record_with_another_value_is_a_record_or_refused(
    changed: tuple[type[Record], bytes],
) -> None:
    kind, data = changed

    read = obeyed(lambda: kind.from_json(data, where="here"), MessageError)

    assert read is None or read == kind.from_json(read.to_json(), where="here")


_OLD_TENSORS = {
    "item_shape": [28, 28],
    "item_dtype": "uint8",
    "classes": ["a", "b"],
    "task": "classification",
}


@given(fields=st.dictionaries(st.sampled_from(sorted(_OLD_TENSORS)), _JSON))
@FUZZED
def test_a_model_of_version_1_with_other_values_is_upgraded_or_refused(
    fields: dict[str, Any],
) -> None:
    body = json.loads(_MODEL.to_json())
    del body["inputs"], body["outputs"]
    data = json.dumps(body | {"schema_version": 1} | _OLD_TENSORS | fields).encode()

    read = obeyed(lambda: ModelManifest.from_json(data, where="here"), MessageError)

    assert read is None or read == ModelManifest.from_json(read.to_json(), where="here")


# What Celery passes to the task: any decoded JSON.


@given(
    args=st.lists(_JSON, max_size=3).map(tuple),
    kwargs=st.dictionaries(st.text(max_size=10), _JSON, max_size=2),
)
@FUZZED
def test_any_arguments_are_a_message_or_refused(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    messages = obeyed(lambda: messages_of(args, kwargs), MessageError)

    assert all(isinstance(message, ShardMessage) for message in messages or ())


@given(
    message=st.fixed_dictionaries(
        {"job_id": st.text(max_size=140) | _JSON, "shard": st.integers() | _JSON},
        optional={
            "schema_version": st.integers(0, 3) | _JSON,
            "manifest": st.text(max_size=50) | _JSON,
            "more": _JSON,
        },
    )
)
@FUZZED
def test_what_looks_like_a_message_is_one_or_refused(message: dict[str, Any]) -> None:
    for read in obeyed(lambda: messages_of((message,), {}), MessageError) or ():
        assert (message["job_id"], message["shard"]) == (read.job_id, read.shard)


# A manifest that comes with a message: what the job's id proves, or nothing.


@given(edits=EDITS)
@FUZZED
def test_a_damaged_manifest_of_a_message_is_none(edits: list[Edit]) -> None:
    message = message_for(with_content_id(_SMALL).manifest, 0, deployment_keys=TEST_KEYS)
    text = (message.manifest or "").encode()
    damaged = edited(text, edits).decode(errors="replace")

    taken = trusted_manifest(
        message.model_copy(update={"manifest": damaged}),
        deployment_keys=TEST_KEYS,
        repeated=Repeated(),
    )

    assert taken is None or damaged.encode() == text


@given(
    inline=st.text(max_size=40),
    size_bytes=st.integers(0, 2**40),
    sha256=st.just(_INLINE.sha256) | st.none(),
)
@FUZZED
def test_any_text_in_place_of_bytes_is_bytes_or_refused(
    inline: str, size_bytes: int, sha256: str | None
) -> None:
    ref = ObjectRef(key="inline/0.npy", size_bytes=size_bytes, sha256=sha256, inline=inline)
    jobs = JobStore(objects=InMemoryObjectStore())

    data = obeyed(lambda: jobs.read_checked(ref), IntegrityError)

    assert data is None or size_bytes == len(data)


# The check of `.keras` files, before Keras sees them.


@cache
def _weights() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        variables = file.create_group("layers/dense/vars")
        variables["0"] = np.ones((4, 3), np.float32)
        variables.create_dataset("1", data=np.ones(64, np.float32), compression="gzip")
    return buffer.getvalue()


@cache
def _config() -> bytes:
    dense = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}}
    config = {"module": "keras", "class_name": "Sequential", "config": {"layers": [dense]}}
    return json.dumps(config).encode()


def _artifact(*, config: bytes, weights: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", weights)
    return buffer.getvalue()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@given(edits=EDITS)
@FUZZED
def test_a_damaged_zip_is_accepted_or_refused(edits: list[Edit], compression: int) -> None:
    whole = _artifact(config=_config(), weights=_weights(), compression=compression)
    damaged = edited(whole, edits)

    obeyed(lambda: check_artifact(damaged, where="here"), ModelRefusedError)


@given(edits=EDITS)
@FUZZED
def test_damaged_weights_are_accepted_or_refused(edits: list[Edit]) -> None:
    damaged = _artifact(config=_config(), weights=edited(_weights(), edits))

    obeyed(lambda: check_artifact(damaged, where="here"), ModelRefusedError)


def test_weights_that_point_beyond_every_file_are_refused() -> None:
    # given weights whose superblock has the address of a driver block that no file reaches
    weights = bytearray(_weights())
    weights[48:56] = 0x80FFFFFFFFFFFFFF.to_bytes(8, "little")
    damaged = _artifact(config=_config(), weights=bytes(weights))

    # then: a refusal, not h5py's OverflowError
    with pytest.raises(ModelRefusedError):
        check_artifact(damaged, where="here")


@given(
    config=EDITS.map(lambda edits: edited(_config(), edits))
    | _JSON.map(lambda value: json.dumps(value).encode())
)
@FUZZED
def test_a_damaged_configuration_is_accepted_or_refused(config: bytes) -> None:
    damaged = _artifact(config=config, weights=_weights())

    obeyed(lambda: check_artifact(damaged, where="here"), ModelRefusedError)
