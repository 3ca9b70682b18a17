"""How long the console takes to open a job of very many shards, from a gateway that just started.

python -m benchmarks.console_page [--shards 100000]
"""

import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import httpx2
import numpy as np

from fornada.coordination.interface import Claim, ShardEnd
from fornada.coordination.redis import RedisCoordination
from fornada.jobs.manifest import JobManifest
from fornada.jobs.shard_inputs import ShardInput, Shards
from fornada.jobs.store import JobStore
from fornada.local.stack import Stack
from fornada.records import JOB_VERSION, ObjectRef, now, sha256_hex
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from fornada.tensors import InputTensor, OutputTensor
from gateway.auth.api_keys import ApiKeys
from gateway.auth.scopes import Scope
from model_store.manifest import ModelDraft
from model_store.store import ModelStore

_MODEL = "wide"
_LEASE_S = 3600.0
_FORM_TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')


@click.command()
@click.option("--shards", default=100_000, show_default=True, help="Of an item each.")
def main(*, shards: int) -> None:
    """Print one JSON object a page."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack(data_dir=Path(folder), environ=dict(os.environ), gateway=True) as stack,
    ):
        job_id = write_large_job(stack.settings, shards)
        for measured in _pages(stack, job_id):
            print(json.dumps(measured), flush=True)


def write_large_job(settings: Settings, shard_count: int) -> str:
    """Write an open job, as submission and workers would, and return its id.

    Half of its shards are done, each hundredth of these is dead, and a few run.
    """
    objects = S3ObjectStore.from_settings(settings)
    coordination = RedisCoordination.from_settings(settings)
    model = ModelStore(objects=objects).publish(
        ModelDraft(
            name=_MODEL,
            inputs=[InputTensor(name="inputs", dtype="uint8", shape=[2, 2])],
            outputs=[OutputTensor(name="outputs", shape=[2], kind="embedding")],
        ),
        artifact=b"none",
        golden_inputs=np.zeros((1, 2, 2), np.uint8),
        golden_outputs=np.zeros((1, 2), np.float32),
        check=lambda _: None,
    )
    job_id = "large"
    manifest = JobManifest(
        job_id=job_id,
        model=model.pin,
        inputs=model.inputs,
        outputs=model.outputs,
        shards=Shards(_shard(number) for number in range(shard_count)),
        max_attempts=settings.max_attempts,
        created_at=now(),
        queue=settings.queue,
        schema_version=JOB_VERSION,
    )
    coordination.open_job(job_id, new=True)
    JobStore(objects=objects, decisions=coordination).create(manifest)
    coordination.begin(
        [Claim(job_id, shard, "worker") for shard in range(shard_count - 8, shard_count)],
        lease_s=_LEASE_S,
    )
    ends = [ShardEnd(n, dead=n % 100 == 0) for n in range(shard_count // 2)]
    for first in range(0, len(ends), 1000):
        coordination.mark_done(job_id, ends[first : first + 1000])
    return job_id


def _shard(number: int) -> ShardInput:
    # As its submitter would name it; nobody computes it.
    digest = sha256_hex(f"{number}".encode())
    key = f"inputs/{digest[:16]}/{number:08d}.npy"
    item = ObjectRef(key=key, size_bytes=132, sha256=digest)
    return ShardInput(objects=[item], item_count=1)


def _pages(stack: Stack, job_id: str) -> Iterator[dict[str, Any]]:
    """What a browser asks for when it opens the job, and again."""
    objects = S3ObjectStore.from_settings(stack.settings)
    _, token = ApiKeys(objects=objects).create("bench", scopes=list(Scope))
    with httpx2.Client(base_url=stack.gateway_url or "", timeout=600) as http:
        form_token = _FORM_TOKEN.findall(http.get("/login").text)[0]
        http.post("/login", data={"api_key": token, "form_token": form_token})
        for what in ("cold", "warm"):
            began = time.monotonic()
            page = http.get(f"/jobs/{job_id}").raise_for_status()
            page_s = time.monotonic() - began
            shard_map = http.get(f"/jobs/{job_id}/shards/map").raise_for_status()
            yield {
                "what": what,
                "shards": shard_map.json()["shards"],
                "page_s": round(page_s, 3),
                "with_map_s": round(time.monotonic() - began, 3),
                "page_kb": round(len(page.content) / 1e3),
                "map_kb": round(len(shard_map.content) / 1e3),
            }


if __name__ == "__main__":
    main()
