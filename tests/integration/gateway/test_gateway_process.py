"""A real gateway process that is killed, and that many or much goes through."""

import hashlib
import io
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image

from fornada.coordination.memory import InMemoryCoordination
from fornada.formats.rows import Rows
from fornada.jobs.items import Predicted
from fornada.jobs.store import JobStore
from fornada.queue.celery_queue import CelerySender
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from fornada.tensors import InputTensor, OutputTensor
from model_store.manifest import ModelDraft
from model_store.store import ModelStore
from producer.client import Client
from producer.testing import InlineWorker

from ...deployment import publish_unloadable
from ...faults.rig.fault_control import FaultControl
from .processes import GatewayProcess, gateway_process, key_headers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes kill themselves"),
]

_ITEMS = [[[level] * 8] * 8 for level in range(3)]
_INLINE = {"model": "m", "input": {"type": "inline", "items": _ITEMS}}


@pytest.fixture
def faults(tmp_path: Path) -> FaultControl:
    return FaultControl(tmp_path / "faults")


@pytest.fixture
def objects(settings: Settings) -> S3ObjectStore:
    """The store, with a model of images of 8 by 8."""
    objects = S3ObjectStore.from_settings(settings)
    publish_unloadable(
        objects, "m", item_shape=[8, 8], item_dtype="uint8", classes=list("0123456789")
    )
    return objects


@pytest.fixture
def gateway(
    environ: dict[str, str], objects: S3ObjectStore, faults: FaultControl, tmp_path: Path
) -> Iterator[GatewayProcess]:
    with gateway_process(
        {**environ, **faults.environ}, log_path=tmp_path / "gateway.log"
    ) as gateway:
        yield gateway


@pytest.fixture
def http(gateway: GatewayProcess, settings: Settings) -> Iterator[httpx2.Client]:
    """A caller."""
    with httpx2.Client(base_url=gateway.url, headers=key_headers(settings), timeout=60) as http:
        yield http


def _png(level: int, side: int = 8) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(level).integers(0, 256, (side, side), np.uint8)
    Image.fromarray(noise).save(file, "png")
    return file.getvalue()


def _form(*levels: int, side: int = 8) -> dict[str, object]:
    request = ("request", (None, json.dumps({"model": "m"})))
    return {"files": [request, *(("file", (f"{n}.png", _png(n, side))) for n in levels)]}


@pytest.mark.parametrize(
    ("point", "sent"),
    [
        ("job-listed", {"json": _INLINE}),
        ("manifest-put", {"json": _INLINE}),
        ("messages-sent", {"json": _INLINE}),
        # Too large to be part of the manifest.
        ("input-put", _form(1, 2, side=300)),
        ("manifest-put", _form(1, 2)),
    ],
    ids=["listed", "json", "sent", "form-input", "form"],
)
def test_a_gateway_killed_at_a_request_makes_one_job_when_it_is_sent_again(  # noqa: PLR0917 - fixtures
    point: str,
    sent: dict[str, object],
    gateway: GatewayProcess,
    http: httpx2.Client,
    faults: FaultControl,
    objects: S3ObjectStore,
    settings: Settings,
) -> None:
    headers = {"Idempotency-Key": "order-7"}
    faults.arm(point)
    with pytest.raises(httpx2.TransportError):
        http.post("/v1/jobs", headers=headers, **sent)
    assert gateway.process is not None
    assert -9 == gateway.process.wait(30)
    gateway.start()

    again = [http.post("/v1/jobs", headers=headers, **sent) for _ in range(2)]

    assert [HTTPStatus.ACCEPTED] * 2 == [answer.status_code for answer in again]
    (listed,) = http.get("/v1/jobs").json()["data"]
    assert {listed["id"]} == {answer.json()["id"] for answer in again}
    assert [listed["id"]] == JobStore(objects=objects).job_ids()
    queued = CelerySender.from_settings(settings).reserved()
    assert len(queued) <= 1
    other = http.post("/v1/jobs", headers=headers, json={**_INLINE, "tags": {"other": "work"}})
    assert (HTTPStatus.CONFLICT, "JobConflictError") == (other.status_code, other.json()["code"])


def test_two_hundred_uploads_at_once_are_all_accepted(
    gateway: GatewayProcess, http: httpx2.Client
) -> None:
    limits = httpx2.Limits(max_connections=200)
    with (
        httpx2.Client(
            base_url=gateway.url, headers=http.headers, timeout=120, limits=limits
        ) as many,
        ThreadPoolExecutor(200) as pool,
    ):
        answers = list(pool.map(lambda n: many.post("/v1/jobs", **_form(n)), range(200)))

    assert [HTTPStatus.ACCEPTED] * 200 == [answer.status_code for answer in answers]
    assert 200 == len({answer.json()["id"] for answer in answers})


def test_parts_are_put_where_the_urls_say_and_only_as_stated(http: httpx2.Client) -> None:
    png = _png(3)
    stated = {"bytes": len(png), "sha256": hashlib.sha256(png).hexdigest()}
    items = [{"id": f"{n}.png", **stated} for n in range(40)]
    upload = http.post("/v1/uploads", json={"items": items}).json()

    with ThreadPoolExecutor(32) as pool:
        put = list(
            pool.map(
                lambda part: httpx2.put(
                    part["url"], content=png, headers=part["headers"], timeout=60
                ),
                upload["parts"],
            )
        )
    job = http.post(
        "/v1/jobs", json={"model": "m", "input": {"type": "upload", "id": upload["id"]}}
    )

    assert [HTTPStatus.OK] * 40 == [answer.status_code for answer in put]
    assert (HTTPStatus.ACCEPTED, 40) == (job.status_code, job.json()["counts"]["total"])


def test_a_large_form_passes_through_little_memory(
    gateway: GatewayProcess, http: httpx2.Client
) -> None:
    """A gigabyte of images: no more than the shards that are being written is held."""
    http.post("/v1/jobs", **_form(1))
    before = gateway.peak_bytes
    # A worker would find that they are none; whoever submits looks at no more than names.
    image, count = b"\x89PNG" + bytes(1024 * 1024 - 4), 1024

    accepted = http.post(
        "/v1/jobs",
        content=_large_form(image, count),
        headers={"Content-Type": "multipart/form-data; boundary=b"},
        timeout=600,
    )

    assert (HTTPStatus.ACCEPTED, count) == (
        accepted.status_code,
        accepted.json()["counts"]["total"],
    )
    assert gateway.peak_bytes - before < 500 * 1024 * 1024


def test_large_results_pass_through_little_memory(
    gateway: GatewayProcess, http: httpx2.Client, objects: S3ObjectStore, settings: Settings
) -> None:
    """Half a gigabyte of results: no more than the shards that are read ahead is held."""
    width, count = 64 * 1024, 2048
    job_id = _job_with_results(objects, settings, width=width, count=count)
    http.get(f"/v1/jobs/{job_id}/errors")
    before = gateway.peak_bytes

    with http.stream("GET", f"/v1/jobs/{job_id}/results", params={"format": "npy"}) as answer:
        size_bytes = sum(len(chunk) for chunk in answer.iter_raw())

    assert 4 * width * count == size_bytes - 128
    assert gateway.peak_bytes - before < 300 * 1024 * 1024


def _job_with_results(objects: S3ObjectStore, settings: Settings, *, width: int, count: int) -> str:
    """A job whose results are in the store, computed here."""
    item = InputTensor(name="inputs", dtype="uint8", shape=[4])
    wide = OutputTensor(name="outputs", shape=[width], kind="embedding")
    ModelStore(objects=objects).publish(
        ModelDraft(name="wide", inputs=[item], outputs=[wide]),
        artifact=b"wide",
        golden_inputs=np.zeros((1, 4), np.uint8),
        golden_outputs=np.zeros((1, width), np.float32),
        check=lambda _: None,
    )
    coordination, rows = InMemoryCoordination(), np.ones((64, width), np.float32)
    worker = InlineWorker(
        jobs=JobStore(objects=objects, decisions=coordination),
        coordination=coordination,
        predict=lambda items: Predicted(Rows(rows[: len(items)]), {}),
    )
    client = Client(objects=objects, coordination=coordination, sender=worker, settings=settings)
    items = np.zeros((count, 4), np.uint8)
    return client.submit(items, model="wide", items_per_shard=64).id


def _large_form(image: bytes, count: int) -> Iterator[bytes]:
    head = "--b\r\nContent-Disposition: form-data; name="
    yield f'{head}"request"\r\n\r\n{{"model": "m"}}\r\n'.encode()
    for number in range(count):
        yield f'{head}"file"; filename="{number}.png"\r\n\r\n'.encode()
        yield image
        yield b"\r\n"
    yield b"--b--\r\n"
