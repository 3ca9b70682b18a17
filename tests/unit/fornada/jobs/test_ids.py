"""Ids that prove a manifest: other content is refused, from any producer."""

import functools
import json
from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given

from fornada.jobs.ids import (
    is_content_id,
    is_generated_id,
    message_for,
    random_id,
    trusted_manifest,
    with_content_id,
)
from fornada.jobs.manifest import JobManifest
from fornada.jobs.shard_inputs import ShardInput
from fornada.queue.message import ShardMessage
from fornada.records import MAX_MESSAGE_BYTES, ModelPin, ObjectRef, sha256_hex
from fornada.repeated import Repeated
from fornada.tensors import unnamed_tensors
from fornada.testing import TEST_KEYS
from fornada.trust.deployment_keys import NO_KEYS, DeploymentKeys

from ....arrays import fields_of_one

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SHA = "0123456789abcdef" * 4
HEAD = '{{"schema_version":2,"job_id":"{}",'


def manifest(data: bytes = b"pixels", *, count: int = 1, **changes: object) -> JobManifest:
    spec = ShardInput(objects=[ObjectRef.of("inline/0.npy", data, inline=True)], item_count=1)
    return JobManifest(
        **{
            "schema_version": 2,
            "job_id": "new",
            "model": ModelPin(name="m", version=3, sha256=SHA),
            **fields_of_one(
                int(str(changes.get("schema_version", 2))),
                *unnamed_tensors(item_shape=[28, 28], item_dtype="uint8", classes=["a", "ß", "日"]),
            ),
            "shards": [spec] * count,
            "max_attempts": 5,
            "created_at": AT,
            "nonce": "0",
            **changes,
        }
    )


message_of = functools.partial(message_for, deployment_keys=TEST_KEYS)
taken_from = functools.partial(trusted_manifest, deployment_keys=TEST_KEYS, repeated=Repeated())


def carried(job_id: str, text: str) -> ShardMessage:
    signature = TEST_KEYS.sign("manifest", job_id, text.encode())
    return ShardMessage(schema_version=3, job_id=job_id, shard=0, manifest=text, hmac=signature)


def own(content: bytes) -> tuple[str, str]:
    """An id that proves the content, and a manifest of both."""
    job_id = f"20260102T030405-{sha256_hex(content)[:32]}"
    return job_id, HEAD.format(job_id) + content.decode()


def test_the_id_has_the_time_and_the_content() -> None:
    job = with_content_id(manifest())

    assert job.manifest.job_id.startswith("20260102T030405-")
    assert is_content_id(job.manifest.job_id)
    assert job.text == job.manifest.to_json()
    assert manifest().shards == job.manifest.shards


@pytest.mark.parametrize("version", [2, 3])
def test_a_small_job_of_either_version_is_vouched_for(version: int) -> None:
    job = with_content_id(manifest(schema_version=version))

    assert version == job.manifest.schema_version
    assert job.manifest == taken_from(message_of(job.manifest, 0))


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": "1"},
        {"max_attempts": 4},
        {"classes": ["a"]},
        {"tags": {"a": "b"}},
        {"created_at": AT + timedelta(microseconds=1)},
        {"deadline": AT},
        {"data": b"other pixels"},
        {"count": 2},
        {"model": ModelPin(name="m", version=4, sha256=SHA)},
    ],
    ids=str,
)
def test_other_content_has_another_id(change: dict[str, object]) -> None:
    assert (
        with_content_id(manifest()).manifest.job_id
        != with_content_id(manifest(**change)).manifest.job_id
    )


def test_the_same_content_has_the_same_id() -> None:
    assert with_content_id(manifest()) == with_content_id(manifest(job_id="whatever"))


def test_what_a_message_carries_is_proved_by_its_id() -> None:
    job = with_content_id(manifest())

    message = message_of(job.manifest, 0)

    assert job.text.decode() == message.manifest
    assert job.manifest == taken_from(message)


def test_a_manifest_that_was_read_from_the_store_is_carried_alike() -> None:
    job = with_content_id(manifest())
    read = JobManifest.from_json(job.text, where="here")

    assert message_of(job.manifest, 0) == message_of(read, 0)


@pytest.mark.parametrize(
    "other",
    [
        # several shards, each of which would carry all
        with_content_id(manifest(count=2)).manifest,
        # an id of the caller's
        manifest(job_id="orders-1"),
        # more than a message may have
        with_content_id(manifest(bytes(60_000))).manifest,
        # inputs in objects
        with_content_id(
            manifest(
                shards=[ShardInput(objects=[ObjectRef(key="x.npy", size_bytes=1)], item_count=1)]
            )
        ).manifest,
    ],
    ids=["several shards", "own id", "long", "objects"],
)
def test_other_jobs_messages_carry_ids_alone(other: JobManifest) -> None:
    assert ShardMessage(job_id=other.job_id, shard=0) == message_of(other, 0)


def test_a_message_without_a_manifest_has_none() -> None:
    assert (
        taken_from(ShardMessage(job_id=with_content_id(manifest()).manifest.job_id, shard=0))
        is None
    )


def test_another_jobs_manifest_is_not_taken() -> None:
    mine, other = with_content_id(manifest()), with_content_id(manifest(b"other"))

    assert taken_from(carried(mine.manifest.job_id, other.text.decode())) is None


def test_content_that_was_changed_under_the_same_id_is_not_taken() -> None:
    job = with_content_id(manifest())
    changed = job.text.decode().replace('"max_attempts":5', '"max_attempts":4')

    assert changed != job.text.decode()
    assert taken_from(carried(job.manifest.job_id, changed)) is None


def test_an_id_of_the_callers_proves_nothing() -> None:
    text = manifest(job_id="orders-1").to_json().decode()

    assert taken_from(carried("orders-1", text)) is None


def test_a_second_job_id_further_on_does_not_make_it_anothers() -> None:
    # given a content that names a victim, and the id that proves it
    victim = with_content_id(manifest(b"victim")).manifest.job_id
    content = manifest().to_json().removeprefix(HEAD.format("new").encode())
    job_id, text = own(content[:-1] + f',"job_id":"{victim}"}}'.encode())
    assert victim == json.loads(text)["job_id"]

    # then it is taken for neither
    assert taken_from(carried(job_id, text)) is None
    assert taken_from(carried(victim, text)) is None


def test_what_is_no_manifest_is_not_taken_though_its_id_proves_it() -> None:
    job_id, text = own(b'"shards":"none"}')

    assert taken_from(carried(job_id, text)) is None


@given(
    text=st.text(max_size=200),
    job_id=st.just("job") | st.just(with_content_id(manifest()).manifest.job_id),
)
def test_any_text_is_refused_quietly(text: str, job_id: str) -> None:
    assert taken_from(carried(job_id, text)) is None


@given(
    at=st.integers(0, len(with_content_id(manifest()).text) - 1), byte=st.characters(codec="ascii")
)
def test_no_changed_character_passes(at: int, byte: str) -> None:
    job = with_content_id(manifest())
    text = job.text.decode()
    changed = text[:at] + byte + text[at + 1 :]

    taken = taken_from(carried(job.manifest.job_id, changed))

    assert taken == (job.manifest if changed == text else None)


def test_a_message_may_be_no_longer_than_its_limit() -> None:
    assert MAX_MESSAGE_BYTES >= len(
        message_of(with_content_id(manifest()).manifest, 0).manifest or ""
    )


@pytest.mark.parametrize(
    "job_id", ["20260102T030405-9f2c1e07ab", "orders-1", "20260102T030405-" + "G" * 32]
)
def test_other_ids_do_not_look_like_these(job_id: str) -> None:
    assert not is_content_id(job_id)


def test_an_id_that_fornada_gave_is_known_from_a_callers_key() -> None:
    given = [with_content_id(manifest()).manifest.job_id, random_id()]
    keys = ["orders-1", f"{random_id()}-retry", "20260102T030405-9f2c1e07a"]

    assert given == [job_id for job_id in [*given, *keys] if is_generated_id(job_id)]


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "0" * 64,
        DeploymentKeys([b"x" * 32]).sign(
            "manifest",
            with_content_id(manifest()).manifest.job_id,
            with_content_id(manifest()).text,
        ),
        TEST_KEYS.sign(
            "end", with_content_id(manifest()).manifest.job_id, with_content_id(manifest()).text
        ),
    ],
    ids=["none", "zeros", "another key", "another kind"],
)
def test_a_manifest_that_no_key_signed_is_read_from_the_store(signature: str | None) -> None:
    job = with_content_id(manifest())
    message = message_of(job.manifest, 0).model_copy(update={"hmac": signature})

    assert taken_from(message) is None


def test_without_a_key_nothing_that_is_carried_is_believed() -> None:
    job = with_content_id(manifest())

    assert (
        trusted_manifest(message_of(job.manifest, 0), deployment_keys=NO_KEYS, repeated=Repeated())
        is None
    )
    assert message_for(job.manifest, 0, deployment_keys=NO_KEYS).manifest is None
