"""What a job may read, whatever its manifest names, and what is said of the rest."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from fornada.errors import InputNotAllowedError
from fornada.jobs.manifest import JobManifest
from fornada.jobs.shard_inputs import ShardInput
from fornada.jobs.store import JobStore
from fornada.records import ModelPin, ObjectRef
from fornada.settings import Settings
from fornada.storage.memory import InMemoryObjectStore
from fornada.tensors import unnamed_tensors
from fornada.trust.input_prefixes import InputPrefixes

from ....arrays import fields_of_one

_DATA = b"bytes"
_TENSORS = unnamed_tensors(item_shape=[1], item_dtype="uint8", classes=["a"], task=None)


class _Store(InMemoryObjectStore):
    """Holds `_DATA` under every key that is asked for, and knows which were."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def get(self, key: str, **options: Any) -> Any:
        if not key.endswith("manifest.json"):
            self.asked.append(key)
            self.put(key, _DATA, bucket=options.get("bucket"))
        return super().get(key, **options)


@pytest.fixture
def objects() -> _Store:
    return _Store()


@pytest.fixture
def jobs(objects: _Store) -> JobStore:
    settings = Settings(s3_bucket="own", input_prefixes="s3://own/,s3://lake/2026/")
    return JobStore(objects=objects, prefixes=InputPrefixes.from_settings(settings))


def _manifest(job_id: str, *, version: int = 3, **fields: object) -> JobManifest:
    ref = ObjectRef(key=f"jobs/{job_id}/input/0.npy", size_bytes=1)
    return JobManifest(
        schema_version=version,
        job_id=job_id,
        model=ModelPin(name="m", version=1, sha256="0" * 64),
        shards=[ShardInput(objects=[ref], item_count=1)],
        max_attempts=1,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        **fields_of_one(version, *_TENSORS),
        **fields,
    )


def _read(
    jobs: JobStore, manifest: JobManifest, keys: Sequence[str], *, bucket: str | None = None
) -> list[str]:
    """Those of the keys that the job may read."""
    read = []
    for key in keys:
        ref = ObjectRef(key=key, bucket=bucket, size_bytes=len(_DATA))
        try:
            assert _DATA == jobs.inputs.read(manifest, ref)
        except InputNotAllowedError:
            continue
        read.append(key)
    return read


def test_a_job_reads_its_own_objects_and_the_prefixes_alone(
    jobs: JobStore, objects: _Store
) -> None:
    own = ["jobs/j/input/0.npy", "jobs/j/ids/0.json", "inputs/a.png", "a", "jobs/j/index/0"]
    foreign = ["jobs/j2/input/0.npy", "jobs/j", "models/m/1/model.keras", "calibrations/c"]
    foreign += ["jobs/j/../j2/input/0", "//jobs/j2/input/0.npy", "inputs/../models/m", "probe/p"]
    for bucket in (None, "own"):
        assert own == _read(jobs, _manifest("j"), [*own, *foreign], bucket=bucket)
    assert ["2026/a"] == _read(jobs, _manifest("j"), ["2026/a", "2026-b/a"], bucket="lake")
    assert [] == _read(jobs, _manifest("j"), ["2026/a", "jobs/j/input/0"], bucket="other")
    # Nothing was asked about an object that may not be read.
    assert {*own, "2026/a"} == set(objects.asked)


def test_a_job_reads_the_uploads_of_its_owner_alone(jobs: JobStore) -> None:
    own = ["gateway/uploads/shop/u-1/parts/00000000"]
    foreign = ["gateway/uploads/bank/u-1/parts/00000000", "gateway/uploads/shop/u-1/upload.json"]
    foreign += ["gateway/uploads/shop/u-1/parts/../../../../keys/k", "gateway/keys/k.json"]

    assert own == _read(jobs, _manifest("j", owner="shop"), [*own, *foreign])
    assert [] == _read(jobs, _manifest("j"), [*own, *foreign])


def test_without_prefixes_a_job_reads_its_own_objects_alone(objects: _Store) -> None:
    jobs = JobStore(objects=objects)

    assert ["jobs/j/input/0"] == _read(jobs, _manifest("j"), ["jobs/j/input/0", "inputs/a", "a"])


def test_a_retry_reads_the_inputs_of_the_first_job_and_nothing_else_of_it(jobs: JobStore) -> None:
    jobs.create(_manifest("a"))
    jobs.create(_manifest("b", source_job="a"))
    parts = [f"jobs/a/{part}" for part in ("input/0.npy", "ids/0.json", "index/0.json")]
    others = ["jobs/a/outcome/00000/0.json", "jobs/a/data/0/x.npy", "jobs/a/inputs", "jobs/ab/ids"]

    for retry in (_manifest("r", source_job="a"), _manifest("r", source_job="b")):
        assert parts == _read(jobs, retry, [*parts, *others])
    # Versions before 3 name the job in a tag, which anybody may write since.
    for tag in ("retry_of", "verifies"):
        old = _manifest("r", version=1, tags={tag: "a"})
        assert parts == _read(jobs, old, [*parts, *others])
        assert [] == _read(jobs, _manifest("r", tags={tag: "a"}), parts)
    hostile = _manifest("r", version=1, tags={"retry_of": "../jobs/a"})
    assert [] == _read(jobs, hostile, [*parts, "jobs/../jobs/a/input/0"])


def test_a_retry_reads_nothing_of_a_job_that_is_gone_or_of_another_owner(jobs: JobStore) -> None:
    jobs.create(_manifest("theirs", owner="ann"))
    jobs.create(_manifest("loop", source_job="loop"))
    keys = [f"jobs/{job}/input/0" for job in ("theirs", "gone", "loop")]

    assert keys[:1] == _read(jobs, _manifest("r", source_job="theirs", owner="ann"), keys)
    for owner in (None, "bob"):
        assert [] == _read(jobs, _manifest("r", source_job="theirs", owner=owner), keys)
    assert [] == _read(jobs, _manifest("r", source_job="gone"), keys)
    assert keys[2:] == _read(jobs, _manifest("r", source_job="loop"), keys)


def test_a_refusal_says_what_the_manifest_says_and_nothing_of_the_object(jobs: JobStore) -> None:
    said = set()
    for store in (_Store(), InMemoryObjectStore()):
        reader = JobStore(objects=store)
        ref = ObjectRef(key="jobs/x/input/0.npy", size_bytes=7, etag="e")
        with pytest.raises(InputNotAllowedError, match="'jobs/x/input/0") as info:
            reader.inputs.read(_manifest("j"), ref)
        said.add(str(info.value))

    assert 1 == len(said)


def test_inline_bytes_need_no_permission(jobs: JobStore) -> None:
    ref = ObjectRef.of("models/m", _DATA, inline=True)

    assert _DATA == jobs.inputs.read(_manifest("j"), ref)
