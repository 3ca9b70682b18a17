"""The command line on real servers: with a worker and a trained model, and without either."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import redis

from fornada.local.stack import Stack
from fornada.redis_server import keys as redis_keys
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from model_store.manifest import ModelManifest
from model_store.safety.trust import Trust
from model_store.store import ModelStore

from ..deployment import (
    environ_of,
    own_environ,
    publish_unloadable,
    unused_database,
    with_new_bucket,
)
from ..walls import no_wall


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A store and a queue, and `fornada` on them as a user runs it."""

    environ: dict[str, str]
    settings: Settings
    forked: "ForkedCommands"

    def run(
        self, *arguments: str, cwd: Path | None = None, **changed: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `fornada ARGUMENTS` in `cwd`, with these `FORNADA_` variables `changed`."""
        return self.forked.run(*arguments, cwd=cwd, environ={**self.environ, **changed})

    def answer(self, *arguments: str, cwd: Path | None = None) -> dict[str, Any]:
        """The one JSON object that `fornada ARGUMENTS --json` prints."""
        done = self.run(*arguments, "--json", cwd=cwd)
        assert 0 == done.returncode, done.stderr
        assert 1 == done.stdout.count("\n"), done.stdout
        answer = json.loads(done.stdout)
        assert isinstance(answer, dict)
        return answer

    def refuses(
        self, *arguments: str, code: int, words: list[str], cwd: Path | None = None, **changed: str
    ) -> str:
        """Check that it ends with `code` and one line that has `words`, and leaves no trace."""
        before = self._traces(cwd)

        done = self.run(*arguments, cwd=cwd, **changed)

        assert code == done.returncode, done.stderr
        assert "Traceback" not in done.stderr
        assert "" == done.stdout
        assert 1 == done.stderr.count("\n"), done.stderr
        assert done.stderr.startswith("error: "), done.stderr
        assert [] == [word for word in words if word not in done.stderr], done.stderr
        assert before == self._traces(cwd)
        return done.stderr

    def job_ids(self) -> list[str]:
        """The ids that `fornada jobs list` lists."""
        return [job["job_id"] for job in self.answer("jobs", "list")["jobs"]]

    def model_names(self) -> list[str]:
        """The names that `fornada models list` lists."""
        return [model["name"] for model in self.answer("models", "list")["models"]]

    def _traces(self, folder: Path | None) -> list[object]:
        """Everything that a command can leave behind: in the store, in Redis and in `folder`."""
        with self.redis() as client:
            # But for the beats of the worker whose reconciler leads, and what workers report.
            signs = {redis_keys.leader(self.settings.queue).encode(), redis_keys.WORKERS.encode()}
            values = {key: client.dump(key) for key in client.scan_iter() if key not in signs}
        files = [] if folder is None else sorted(folder.rglob("*"))
        return [list(self.objects.list("")), values, files]

    @cached_property
    def objects(self) -> S3ObjectStore:
        """The bucket."""
        return S3ObjectStore.from_settings(self.settings)

    @contextmanager
    def redis(self) -> Iterator["redis.Redis"]:
        """A connection to the Redis database."""
        with redis.Redis.from_url(self.settings.redis_url.get_secret_value()) as client:
            yield client

    def publish(self, name: str, item_dtype: str = "uint8") -> ModelManifest:
        """Publish an unloadable model of 8x8 images and promote it to `@prod`."""
        manifest = publish_unloadable(
            self.objects,
            name,
            item_shape=[8, 8],
            item_dtype=item_dtype,
            classes=[str(digit) for digit in range(10)],
        )
        ModelStore(objects=self.objects).promote(name, manifest.version, "prod")
        return manifest


@dataclass(frozen=True, kw_only=True)
class LiveDeployment(Deployment):
    """A deployment with one worker process."""

    worker_log: Path
    signs_dir: Path

    @property
    def workers(self) -> list[str]:
        """The names of the worker processes that show life."""
        return sorted(sign.stem for sign in self.signs_dir.glob("*.json"))

    @contextmanager
    def workers_stopped(self) -> Iterator[None]:
        """Stop the workers (SIGSTOP) for the length of the block, so that no job moves."""
        pids = [int(name.rpartition("-")[2]) for name in self.workers]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


class ForkedCommands:
    """Runs commands through `forked_commands.py`, without a second of imports each."""

    def __init__(self, folder: Path) -> None:
        self._stdout, self._stderr = folder / "stdout", folder / "stderr"
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.forked_commands"],
            cwd=Path(__file__).parents[2],
            env=own_environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *arguments: str, environ: dict[str, str], cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `fornada ARGUMENTS` in `cwd`."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        command = {
            "arguments": arguments,
            "environ": environ,
            "cwd": str(cwd or Path.cwd()),
            "stdout": str(self._stdout),
            "stderr": str(self._stderr),
        }
        self._server.stdin.write(json.dumps(command) + "\n")
        self._server.stdin.flush()
        return subprocess.CompletedProcess(
            args=arguments,
            returncode=int(self._server.stdout.readline()),
            stdout=self._stdout.read_text(),
            stderr=self._stderr.read_text(),
        )

    def close(self) -> None:
        """End the server of forks."""
        self._server.communicate(timeout=10)


@pytest.fixture(scope="session")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedCommands]:
    """Commands that find everything imported."""
    forked = ForkedCommands(tmp_path_factory.mktemp("forked"))
    yield forked
    forked.close()


@pytest.fixture(scope="module")
def deployment(
    servers: Stack, forked: ForkedCommands, tmp_path_factory: pytest.TempPathFactory
) -> Deployment:
    """A new bucket with two models and an empty queue; no workers."""
    settings = with_new_bucket(
        servers.settings,
        redis_url=unused_database(servers.settings),
        cache_dir=tmp_path_factory.mktemp("cache"),
    )
    deployment = Deployment(environ=environ_of(settings), settings=settings, forked=forked)
    deployment.publish("digits")
    deployment.publish("floats", "float32")
    return deployment


@pytest.fixture(scope="session")
def live(
    forked: ForkedCommands, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveDeployment]:
    """A stack with one worker, and a trained model `digits`, also as `@prod`."""
    environ = {
        **own_environ(),
        "FORNADA_RECONCILE_INTERVAL_S": "0.5",
        "FORNADA_INPUT_PREFIXES": "s3://camera/arrays/",
    }
    data_dir = tmp_path_factory.mktemp("live")
    with Stack(data_dir=data_dir, workers=1, environ=environ) as stack:
        live = LiveDeployment(
            environ={**environ, **stack.environ},
            settings=stack.settings,
            forked=forked,
            worker_log=stack.logs_dir / "workers.log",
            signs_dir=stack.settings.cache_dir / "workers",
        )
        # TensorFlow takes seconds; other tests of this process need it too.
        from trainer import job  # noqa: PLC0415
        from trainer.data.catalog import load_dataset  # noqa: PLC0415
        from trainer.recipes.plan import TrainingPlan  # noqa: PLC0415

        job.train(
            load_dataset("digits"),
            name="digits",
            models=ModelStore(
                objects=live.objects, trust=Trust.from_settings(live.settings), open_wall=no_wall
            ),
            plan=TrainingPlan(epochs=1),
            promote="prod",
        )
        yield live
