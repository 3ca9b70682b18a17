"""How `f0672dc.tar.xz` was made; runs in a checkout of commit f0672dc alone.

.venv/bin/python make_f0672dc.py f0672dc.tar.xz
"""

import io
import json
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from fornada.arrays import to_npy  # type: ignore[import-not-found]  # of that commit
from fornada.content_ids import message_for  # type: ignore[import-not-found]  # of that commit
from fornada.job_manifest import ShardInput  # type: ignore[import-not-found]  # of that commit
from PIL import Image

from tests.unit.worker.conftest import _World  # type: ignore[import-not-found]  # of that commit

ITEMS = np.arange(30, dtype=np.float32).reshape(10, 3)


def main() -> None:
    """Fill a store in memory, and write its objects."""
    with tempfile.TemporaryDirectory() as folder:
        world = _World(conditional_writes=True, folder=Path(folder))
        names = _finished(world) | _open(world)
        world.objects.put("names.json", json.dumps(names).encode())
        with tarfile.open(sys.argv[1], "w:xz") as archive:
            for (_, key), data in sorted(world.objects._objects.items(), key=lambda kv: kv[0][1]):
                member = tarfile.TarInfo(key)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        world.cache.close()


def _finished(world: _World) -> dict[str, str]:
    with_nan = ITEMS.copy()
    with_nan[5, 1] = np.nan
    ids = [
        world.stored(f"ids/{n}.json", json.dumps([f"row {i}" for i in run]).encode())
        for n, run in enumerate([range(4), range(4, 8), range(8, 10)])
    ]
    parts = [with_nan[:4], with_nan[4:8], with_nan[8:]]
    shards = [
        ShardInput(
            objects=[world.stored(f"jobs/large/input/{n}.npy", to_npy(part))],
            item_count=len(part),
            item_ids=ids[n],
        )
        for n, part in enumerate(parts)
    ]
    world.submit(shards=shards, job_id="large", tags={"team": "vision"})
    _run(world, "large", 3)
    _images(world)
    failed = world.submit([ITEMS[:4], ITEMS[4:]], job_id="failed")
    world.objects.put(failed.shards[1].objects[0].key, b"damaged")
    _run(world, "failed", 2)
    world.submit([ITEMS[:4], ITEMS[4:]], job_id="cancelled")
    _run(world, "cancelled", 1)
    world.jobs.request_cancel("cancelled", "enough")
    world.new_reconciler().round()
    small = world.submit_small([with_nan[4:7]])
    world.service.run(message_for(small, 0))
    two = world.submit_small([ITEMS[:2], ITEMS[2:5]])
    for shard in range(2):
        world.service.run(message_for(two, shard))
    return {"small": small.job_id, "small of two shards": two.job_id}


def _images(world: _World) -> None:
    model = world.publish("photos", b"photos", item_shape=[1, 3])
    png = io.BytesIO()
    Image.fromarray(np.array([[1, 2, 3]], np.uint8)).save(png, format="PNG")
    refs = [
        world.stored(f"photos/{n}.png", data)
        for n, data in enumerate([png.getvalue(), b"\x89PNG no", png.getvalue()])
    ]
    world.submit(
        shards=[ShardInput(format="image", objects=refs, item_count=3)],
        job_id="images",
        model=model.pin,
        item_shape=[1, 3],
    )
    _run(world, "images", 1)


def _open(world: _World) -> dict[str, str]:
    world.submit([ITEMS[:4], ITEMS[4:8], ITEMS[8:]], job_id="open")
    _run(world, "open", 1)
    failing = world.submit([ITEMS[:4], ITEMS[4:]], job_id="open-failing")
    world.objects.put(failing.shards[0].objects[0].key, b"damaged")
    _run(world, failing.job_id, 1)
    small = world.submit_small([ITEMS[:2]])
    two = world.submit_small([ITEMS[:2], ITEMS[2:5]])
    world.service.run(message_for(two, 1))
    return {"open small": small.job_id, "open small of two shards": two.job_id}


def _run(world: _World, job_id: str, count: int) -> None:
    for shard in range(count):
        world.run(shard, job_id)


if __name__ == "__main__":
    main()
