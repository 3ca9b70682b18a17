"""What goes through a gateway, beside the same without one: jobs a second, bytes a second, memory.

python -m benchmarks.gateway_streams [--gib 1]
"""

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import httpx2
import numpy as np

from fornada.coordination.memory import InMemoryCoordination
from fornada.formats.rows import Rows
from fornada.jobs.items import Predicted
from fornada.jobs.store import JobStore
from fornada.local.stack import Stack
from fornada.storage.s3.store import S3ObjectStore
from fornada.tensors import ImagePreprocessing, InputTensor, OutputTensor
from gateway.auth.api_keys import ApiKeys
from gateway.auth.scopes import Scope
from model_store.manifest import ModelDraft
from model_store.store import ModelStore
from producer.client import Client
from producer.testing import InlineWorker

_MIB = 1024**2
_PART = 64 * _MIB
_WIDTH = 256 * 1024
_CALLERS = 16


@click.command()
@click.option("--gib", default=1.0, show_default=True, help="Of an upload, and of results.")
@click.option("--jobs", default=500, show_default=True, help="Inline jobs.")
def main(*, gib: float, jobs: int) -> None:
    """Print one JSON object a measurement."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack(data_dir=Path(folder), environ=dict(os.environ), gateway=True) as stack,
    ):
        rig = _Rig(stack)
        for measured in rig.measurements(gib=gib, jobs=jobs):
            print(json.dumps(measured), flush=True)


class _Rig:
    """A gateway, a store, and a model whose items are a megabyte and give another."""

    def __init__(self, stack: Stack) -> None:
        self._settings = stack.settings
        self._objects = S3ObjectStore.from_settings(stack.settings)
        self._client = Client.from_settings(stack.settings)
        self._log = stack.logs_dir / "gateway.log"
        _, token = ApiKeys(objects=self._objects).create("bench", scopes=list(Scope))
        self._http = httpx2.Client(
            base_url=stack.gateway_url or "",
            headers={"Authorization": f"Bearer {token}"},
            timeout=3600,
            limits=httpx2.Limits(max_connections=_CALLERS),
        )
        self._plain = httpx2.Client(timeout=3600)
        self._publish("small", [8, 8], 10)
        self._publish("wide", [4], _WIDTH)

    def measurements(self, *, gib: float, jobs: int) -> Iterator[dict[str, Any]]:
        """All of them."""
        yield self.inline_jobs(jobs)
        yield self.uploads(gib)
        yield self.results(gib)

    def inline_jobs(self, count: int) -> dict[str, Any]:
        """Jobs of three items, by 16 callers."""
        items = np.zeros((3, 8, 8), np.uint8)
        body = {"model": "small", "input": {"type": "inline", "items": items.tolist()}}

        def through_gateway(_: int) -> None:
            self._http.post("/v1/jobs", json=body).raise_for_status()

        def directly(_: int) -> None:
            self._client.submit(items, model="small")

        rates = {
            name: _rate(call, count)
            for name, call in (("client", directly), ("gateway", through_gateway))
        }
        return {
            "what": "inline jobs a second",
            **{name: round(rate) for name, rate in rates.items()},
            "ratio": round(rates["gateway"] / rates["client"], 2),
        }

    def uploads(self, gib: float) -> dict[str, Any]:
        """A form of images of a megabyte, and presigned puts of the same bytes."""
        count = int(gib * 1024)
        image = b"\x89PNG" + np.random.default_rng(1).bytes(_MIB - 4)
        # What is loaded once is no memory of the upload.
        self._post_form(image, 1)
        before = self._peak_bytes()
        began = time.monotonic()
        self._post_form(image, count)
        through_s = time.monotonic() - began
        peak = self._peak_bytes() - before
        parts = [{"id": f"{n}.npy", "bytes": _PART} for n in range(max(1, count // 64))]
        upload = self._http.post("/v1/uploads", json={"items": parts}).raise_for_status().json()
        data = image * 64
        began = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda part: _put(part, data), upload["parts"]))
        directly_s = time.monotonic() - began
        return {
            "what": "upload",
            "gib": gib,
            "gateway_mb_per_s": round(count * _MIB / 1e6 / through_s),
            "presigned_mb_per_s": round(len(parts) * _PART / 1e6 / directly_s),
            "gateway_memory_mib": round(peak / _MIB),
        }

    def results(self, gib: float) -> dict[str, Any]:
        """Results of a megabyte an item as `.npy`, and presigned gets of the same objects."""
        job_id = self._job_with_results(int(gib * 1024))
        before = self._peak_bytes()
        began = time.monotonic()
        received = self._get(f"/v1/jobs/{job_id}/results?format=npy")
        through_s = time.monotonic() - began
        peak = self._peak_bytes() - before
        keys = [info.key for info in self._objects.list(f"jobs/{job_id}/data/")]
        began = time.monotonic()
        raw = sum(self._get(self._signed_get(key)) for key in keys)
        directly_s = time.monotonic() - began
        return {
            "what": "results",
            "gib": gib,
            "gateway_mb_per_s": round(received / 1e6 / through_s),
            "presigned_mb_per_s": round(raw / 1e6 / directly_s),
            "gateway_memory_mib": round(peak / _MIB),
        }

    def _publish(self, name: str, item_shape: list[int | None], width: int) -> None:
        image = ImagePreprocessing(color="grayscale") if len(item_shape) > 1 else None
        taken = InputTensor(name="inputs", dtype="uint8", shape=item_shape, image=image)
        given = OutputTensor(name="outputs", shape=[width], kind="embedding")
        ModelStore(objects=self._objects).publish(
            ModelDraft(name=name, inputs=[taken], outputs=[given]),
            artifact=name.encode(),
            golden_inputs=np.zeros((1, *(side or 1 for side in item_shape)), np.uint8),
            golden_outputs=np.zeros((1, width), np.float32),
            check=lambda _: None,
        )

    def _job_with_results(self, count: int) -> str:
        """A job whose results are in the store, computed here."""
        coordination = InMemoryCoordination()
        jobs = JobStore(objects=self._objects, decisions=coordination)
        rows = np.random.default_rng(1).random((32, _WIDTH), np.float32)
        worker = InlineWorker(
            jobs=jobs,
            coordination=coordination,
            predict=lambda items: Predicted(Rows(rows[: len(items)]), {}),
        )
        client = Client(
            objects=self._objects, coordination=coordination, sender=worker, settings=self._settings
        )
        items = np.zeros((count, 4), np.uint8)
        job = client.submit(items, model="wide", items_per_shard=32)
        return job.id

    def _post_form(self, image: bytes, count: int) -> None:
        self._http.post(
            "/v1/jobs",
            content=_form(image, count),
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        ).raise_for_status()

    def _get(self, url: str) -> int:
        """How many bytes come."""
        # A signed URL goes without our key.
        http = self._http if url.startswith("/") else self._plain
        with http.stream("GET", url) as answer:
            answer.raise_for_status()
            return sum(len(chunk) for chunk in answer.iter_raw())

    def _signed_get(self, key: str) -> str:
        where = {"Bucket": self._settings.s3_bucket, "Key": key}
        signed: str = self._objects._client.generate_presigned_url("get_object", Params=where)  # noqa: SLF001 - no product needs it
        return signed

    def _peak_bytes(self) -> int:
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                command = status.with_name("cmdline").read_bytes().split(b"\0")
                port = str(self._http.base_url.port).encode()
                if b"gateway" in command and port in command:
                    return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
        raise LookupError("no gateway")


def _rate(call: Callable[[int], None], count: int) -> float:
    with ThreadPoolExecutor(_CALLERS) as pool:
        list(pool.map(call, range(_CALLERS)))
        began = time.monotonic()
        list(pool.map(call, range(count)))
        return count / (time.monotonic() - began)


def _put(part: dict[str, Any], data: bytes) -> None:
    httpx2.put(part["url"], content=data, headers=part["headers"], timeout=3600).raise_for_status()


def _form(image: bytes, count: int) -> Iterator[bytes]:
    head = "--b\r\nContent-Disposition: form-data; name="
    yield f'{head}"request"\r\n\r\n{{"model": "small"}}\r\n'.encode()
    for number in range(count):
        yield f'{head}"file"; filename="{number}.png"\r\n\r\n'.encode()
        yield image
        yield b"\r\n"
    yield b"--b--\r\n"


if __name__ == "__main__":
    main()
