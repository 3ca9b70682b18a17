"""A job's records say what failed, and not where the operator's store is."""

from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, SSLError

from fornada.errors import StoreError
from fornada.storage.s3.refusals.errors import translate_error

ENDPOINT = "http://store.internal:9000"
BUCKET = "operators-own"
ITEMS = np.ones((2, 3), np.float32)


def refused(code: str, status: int) -> StoreError:
    said = {"Code": code, "Message": f"{ENDPOINT}/{BUCKET} says no", "Endpoint": "store.internal"}
    metadata = {"HTTPStatusCode": status}
    answer: Any = {"Error": said, "ResponseMetadata": metadata}
    return translated(ClientError(answer, "GetObject"))


def translated(exc: Exception) -> StoreError:
    return translate_error(exc, endpoint=ENDPOINT, bucket=BUCKET, own_bucket=True)


def check(text: str | None) -> None:
    assert text
    assert not [name for name in ("store.internal", "9000", BUCKET) if name in text]


@pytest.mark.parametrize(
    "error",
    [
        refused("NoSuchKey", 404),
        refused("AccessDenied", 403),
        refused("NoSuchBucket", 404),
        refused("PermanentRedirect", 301),
        refused("Made up", 400),
        translated(ConnectTimeoutError(endpoint_url=ENDPOINT)),
        translated(SSLError(endpoint_url=ENDPOINT, error="CERTIFICATE_VERIFY_FAILED")),
    ],
    ids=str,
)
def test_the_public_text_of_a_stores_error_has_no_address(error: StoreError) -> None:
    assert ENDPOINT in str(error)
    check(error.public_text)


@pytest.mark.parametrize(
    ("key", "error", "result", "fact"),
    [
        ("input/0.npy", refused("NoSuchKey", 404), "dead", "0.npy is gone (the object store has"),
        ("input/0.npy", refused("InvalidRange", 416), "dead", "fewer bytes than the range asks"),
        ("input/0.npy", refused("AccessDenied", 403), "given back", "refuses the permission"),
        ("model.keras", refused("NoSuchKey", 404), "failed", "the object store has no such object"),
        ("model.keras", refused("AccessDenied", 403), "given back", "refuses the permission"),
    ],
)
def test_what_a_submitter_reads_of_a_refusal_has_no_address(
    world: Any, key: str, error: StoreError, result: str, fact: str
) -> None:
    # given a store that refuses
    job = world.submit([ITEMS])

    def before(operation: str, at: str) -> None:
        if operation in {"get", "download"} and key in at:
            raise error

    world.objects.before = before

    assert result == world.run()

    world.objects.before = lambda _operation, _key: None
    if result == "dead":
        said = world.outcome().detail
    elif result == "failed":
        said = world.jobs.final(job.job_id).reason
    else:
        said = world.coordination.progress(job.job_id).held_up["worker-1"]
    assert fact in said
    check(said)
