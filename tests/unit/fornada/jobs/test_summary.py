"""How a job ends: by its failed items, and by the rule of the version that it was written in."""

import hashlib

import pytest

from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.shard_inputs import ShardInput
from fornada.jobs.summary import OutcomesDigest, summarise
from fornada.records import ItemError, ModelPin, ObjectRef, now
from fornada.tensors import unnamed_tensors

from ....arrays import fields_of_one

SHA = "0123456789abcdef" * 4
REF = ObjectRef(key="x.npy", size_bytes=7, sha256=SHA)


def manifest(version: int = 3, **changes: object) -> JobManifest:
    """A job of four shards of ten items."""
    return JobManifest(
        **{
            "schema_version": version,
            "job_id": "job",
            "model": ModelPin(name="m", version=1, sha256=SHA),
            **fields_of_one(
                version, *unnamed_tensors(item_shape=[2], item_dtype="uint8", classes=["a"])
            ),
            "shards": [ShardInput(objects=[REF], item_count=10)] * 4,
            "max_attempts": 1,
            "created_at": now(),
            **changes,
        }
    )


def outcomes(*failed: int | None, version: int = 3) -> list[ShardOutcome]:
    """An outcome a shard: its failed items, or dead for `None`."""
    return [
        ShardOutcome(
            schema_version=version,
            job_id="job",
            shard=shard,
            status="dead" if count is None else "ok",
            attempt="a",
            data=None if count is None else REF,
            item_count=10,
            item_errors=[ItemError(index=n, reason=f"broken {n}") for n in range(count or 0)],
            reason="input" if count is None else None,
            detail="gone" if count is None else None,
            model_sha256=SHA,
            worker="w",
            began_at=now(),
            committed_at=now(),
        )
        for shard, count in enumerate(failed)
    ]


@pytest.mark.parametrize(
    ("max_failed", "failed", "state"),
    [
        (None, (0, 0, 0, 0), "SUCCEEDED"),
        (0, (0, 0, 0, 0), "SUCCEEDED"),
        (None, (0, 1, 0, 0), "PARTIAL"),
        (None, (0, None, 0, 0), "PARTIAL"),
        (None, (10, 10, None, 9), "PARTIAL"),
        (None, (10, 10, 10, 10), "FAILED"),
        (None, (None, None, None, None), "FAILED"),
        (40, (None, 10, None, 10), "FAILED"),
        (0, (0, 1, 0, 0), "FAILED"),
        (2, (1, 1, 0, 0), "PARTIAL"),
        (2, (1, 1, 1, 0), "FAILED"),
        (10, (None, 0, 0, 0), "PARTIAL"),
        (9, (None, 0, 0, 0), "FAILED"),
        # 2.9 of 40 items, rounded down
        ("7.25%", (1, 1, 0, 0), "PARTIAL"),
        ("7.25%", (1, 1, 1, 0), "FAILED"),
        ("7.5%", (1, 1, 1, 0), "PARTIAL"),
        ("0%", (0, 1, 0, 0), "FAILED"),
        ("100%", (10, 10, 10, 9), "PARTIAL"),
    ],
)
def test_the_failed_items_decide_the_end(
    max_failed: int | str | None, failed: tuple[int | None, ...], state: str
) -> None:
    final = summarise(manifest(max_failed=max_failed), outcomes(*failed), None, None)

    items_failed = sum(10 if count is None else count for count in failed)
    assert (state, 3, items_failed) == (final.state, final.schema_version, final.items_failed)
    assert (final.reason is None) == (state == "SUCCEEDED")


def test_an_end_that_is_given_wins_over_the_failed_items() -> None:
    for state in ("CANCELLED", "EXPIRED"):
        final = summarise(manifest(), outcomes(1, None, 0, 0), state, "why")
        assert (state, "why") == (final.state, final.reason)


@pytest.mark.parametrize("version", [1, 2])
def test_jobs_of_older_versions_end_by_the_old_rule(version: int) -> None:
    for failed, state in (((10, 10, 10, 10), "SUCCEEDED"), ((0, None, 0, 0), "FAILED")):
        final = summarise(manifest(version), outcomes(*failed, version=version), None, None)
        assert (state, version) == (final.state, final.schema_version)


def test_the_digest_covers_ids_and_failed_items_from_version_3_on() -> None:
    held = outcomes(0, 2, None)
    held[0] = held[0].model_copy(update={"item_ids_sha256": SHA})
    lines = f"0 ok {SHA} {SHA} []\n1 ok {SHA} - [[0,1]]\n2 dead - - []\n"

    assert hashlib.sha256(lines.encode()).hexdigest() == OutcomesDigest(held).sha256

    older = f"0 ok {SHA}\n1 ok {SHA}\n2 dead -\n"
    expected = hashlib.sha256(older.encode()).hexdigest()
    assert expected == OutcomesDigest(outcomes(0, 2, None, version=1)).sha256
