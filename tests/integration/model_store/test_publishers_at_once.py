"""Concurrent publishers and promoters, on real stores."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from model_store.store import ModelStore
from model_store.testing import draft_for_test

_PROCESSES, _THREADS = 4, 5
_AT_ONCE = 8
_PUBLISH = """
import json, os, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from fornada.storage.s3.store import S3ObjectStore
from fornada.settings import Settings
from model_store.store import ModelStore

store = ModelStore(objects=S3ObjectStore.from_settings(Settings.from_env(os.environ)))
store.objects.conditional_writes
draft = draft_for_test(name="m", item_shape=[1], item_dtype="uint8", classes=["a"])

def publish(thread):
    artifact = f"{os.getpid()} {thread}"
    published = store.publish(
        draft,
        artifact=artifact.encode(),
        golden_inputs=np.zeros((1, 1), np.uint8),
        golden_outputs=np.zeros((1, 1), np.float32),
        check=lambda _: None,
    )
    return published.version, artifact

with ThreadPoolExecutor(int(sys.argv[1])) as pool:
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(list(pool.map(publish, range(int(sys.argv[1]))))), flush=True)
"""


@pytest.fixture(params=["rclone", "moto"])
def store_settings(request: pytest.FixtureRequest) -> Settings:
    """An empty bucket on a store that ignores conditions, and on one that honours them."""
    name = {"rclone": "settings", "moto": "moto_settings"}[request.param]
    found: Settings = request.getfixturevalue(name)
    return found


@pytest.fixture
def publishers(store_settings: Settings) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that publish when they are sent a line."""
    secret = store_settings.s3_secret_access_key
    assert secret is not None
    environ = {
        **os.environ,
        "FORNADA_S3_ENDPOINT_URL": str(store_settings.s3_endpoint_url),
        "FORNADA_S3_BUCKET": store_settings.s3_bucket,
        "FORNADA_S3_ACCESS_KEY_ID": str(store_settings.s3_access_key_id),
        "FORNADA_S3_SECRET_ACCESS_KEY": secret.get_secret_value(),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PUBLISH, str(_THREADS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )
        for _ in range(_PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.soak
def test_twenty_concurrent_publishers_in_four_processes_get_twenty_versions(
    publishers: list[subprocess.Popen[str]], store_settings: Settings
) -> None:
    # when all start at the same moment
    for process in publishers:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    published = [pair for p in publishers for pair in json.loads(p.communicate(timeout=120)[0])]

    # then each has a version of its own, with its own artifact in it
    assert _PROCESSES * _THREADS == len(published)
    store = ModelStore(objects=S3ObjectStore.from_settings(store_settings))
    assert sorted(version for version, _ in published) == store.versions("m")
    for version, artifact in published:
        manifest = store.resolve(f"m:{version}")
        assert artifact.encode() == store.fetch(manifest.artifact)


def test_no_concurrent_version_or_alias_move_is_lost(store_settings: Settings) -> None:
    # given
    store = ModelStore(objects=S3ObjectStore.from_settings(store_settings))
    draft = draft_for_test(name="m", item_shape=[1], item_dtype="uint8", classes=["a"])
    golden = np.zeros((1, 1), np.uint8)

    def publish_and_promote(number: int) -> tuple[int, bytes]:
        artifact = b"%d" % number
        published = store.publish(
            draft,
            artifact=artifact,
            golden_inputs=golden,
            golden_outputs=golden.astype(np.float32),
            check=lambda _: None,
        )
        store.promote("m", published.version, "prod")
        return published.version, artifact

    # when
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        published = dict(pool.map(publish_and_promote, range(_AT_ONCE)))

    # then
    assert sorted(published) == store.versions("m")
    for version, artifact in published.items():
        assert artifact == store.fetch(store.resolve(f"m:{version}").artifact)
    moves = [move.version for move in store.alias_history("m", "prod")]
    assert sorted(published) == sorted(moves)
    assert {"prod": moves[-1]} == store.aliases("m")
