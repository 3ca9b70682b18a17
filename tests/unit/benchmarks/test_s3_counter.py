"""The counting proxy counts requests and passes them on unchanged."""

import pytest

from benchmarks.measuring.s3_counter import S3Counter, kind_of
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore

from ...faults.rig.s3_proxy import Refuse, S3Proxy


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/fornada/jobs/j/input/0.npy", "input"),
        ("/fornada/jobs/j/data/0/a.npy", "data"),
        ("/fornada/jobs/j/outcome/0.json", "outcome"),
        ("/fornada/jobs/j/final.json", "final.json"),
        ("/fornada/models/m/1/model.keras", "model"),
        ("/fornada?list-type=2&prefix=jobs%2Fj%2Foutcome%2F", "list"),
        ("/fornada/x", "other"),
    ],
)
def test_requests_are_told_apart(path: str, kind: str) -> None:
    assert kind == kind_of(path)


def test_objects_pass_unharmed_and_are_counted(settings: Settings) -> None:
    # given
    assert settings.s3_endpoint_url is not None
    with S3Counter(settings.s3_endpoint_url) as counter:
        store = S3ObjectStore.from_settings(
            settings.model_copy(update={"s3_endpoint_url": counter.url})
        )

        # when
        store.put("jobs/j/input/0.npy", b"pixels")
        data = store.get("jobs/j/input/0.npy").data

    # then
    assert b"pixels" == data
    assert {"PUT input": 1, "GET input": 1} == dict(counter.counts)
    assert {settings.s3_bucket: len(b"pixels")} == dict(counter.sent_bytes)


def test_a_request_that_a_broken_server_gets_again_counts_once(settings: Settings) -> None:
    assert settings.s3_endpoint_url is not None
    with S3Proxy(settings.s3_endpoint_url) as proxy, S3Counter(proxy.url) as counter:
        store = S3ObjectStore.from_settings(
            settings.model_copy(update={"s3_endpoint_url": counter.url})
        )
        refused = proxy.add(Refuse(method="PUT", status=500, code="InternalError", times=1))

        store.put("jobs/j/input/0.npy", b"pixels")

    assert 1 == refused.count
    assert {"PUT input": 1} == dict(counter.counts)
