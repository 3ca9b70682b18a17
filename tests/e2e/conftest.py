"""The command line on real servers: with a worker and a trained model, and without either."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from fornada.local.stack import Stack
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from model_store.manifest import ModelDraft, ModelManifest
from model_store.store import ModelStore


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A store and a queue, and `fornada` on them as a user runs it."""

    environ: dict[str, str]
    settings: Settings
    forked: "ForkedCommands"

    def run(
        self, *arguments: str, cwd: Path | None = None, timeout_s: float = 120, **changed: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `fornada ARGUMENTS` in `cwd`, with these `FORNADA_` variables `changed`."""
        return subprocess.run(
            fornada(*arguments),
            env={**self.environ, **changed},
            cwd=cwd,
            timeout=timeout_s,
            check=False,
            capture_output=True,
            text=True,
        )

    def answer(self, *arguments: str, cwd: Path | None = None) -> dict[str, Any]:
        """The one JSON object that `fornada ARGUMENTS --json` prints."""
        done = self.forked.run(*arguments, "--json", cwd=cwd, environ=self.environ)
        assert 0 == done.returncode, done.stderr
        assert 1 == done.stdout.count("\n"), done.stdout
        answer = json.loads(done.stdout)
        assert isinstance(answer, dict)
        return answer

    def refuses(
        self, *arguments: str, code: int, words: list[str], cwd: Path | None = None, **changed: str
    ) -> str:
        """Check that `fornada ARGUMENTS` ends with `code`, one line that has `words`, no trace."""
        before = self._traces(cwd)

        done = self.forked.run(*arguments, cwd=cwd, environ={**self.environ, **changed})

        assert code == done.returncode, done.stderr
        assert "Traceback" not in done.stderr
        assert "" == done.stdout
        assert 1 == done.stderr.count("\n"), done.stderr
        assert done.stderr.startswith("error: "), done.stderr
        assert [] == [word for word in words if word not in done.stderr], done.stderr
        assert before == self._traces(cwd)
        return done.stderr

    def job_ids(self) -> list[str]:
        """What `fornada jobs list` lists."""
        return [job["job_id"] for job in self.answer("jobs", "list")["jobs"]]

    def model_names(self) -> list[str]:
        """What `fornada models list` lists."""
        return [model["name"] for model in self.answer("models", "list")["models"]]

    def _traces(self, folder: Path | None) -> list[object]:
        """All that a command could leave behind for a later one: in store, Redis and folder."""
        with self.redis() as client:
            values = {key: client.dump(key) for key in client.scan_iter()}
        files = [] if folder is None else sorted(folder.rglob("*"))
        return [list(self.objects.list("")), values, files]

    @cached_property
    def objects(self) -> S3ObjectStore:
        """The store itself."""
        return S3ObjectStore.from_settings(self.settings)

    @contextmanager
    def redis(self) -> Iterator["redis.Redis"]:
        """The Redis server itself."""
        with redis.Redis.from_url(self.settings.redis_url.get_secret_value()) as client:
            yield client

    def publish(self, name: str, item_dtype: str = "uint8") -> ModelManifest:
        """Publish a model of 8x8 images, also as `@prod`, that nothing can load."""
        images = np.zeros((2, 8, 8), item_dtype)
        models = ModelStore(objects=self.objects)
        draft = ModelDraft.model_validate(
            {
                "name": name,
                "item_shape": [8, 8],
                "item_dtype": item_dtype,
                "classes": [str(digit) for digit in range(10)],
            }
        )
        manifest = models.publish(
            draft,
            artifact=b"no model",
            golden_inputs=images,
            golden_outputs=np.full((2, 10), 0.1, np.float32),
            check=lambda artifact: None,
        )
        models.promote(name, manifest.version, "prod")
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
        """The workers stand still, so that a job stays as it is."""
        pids = [int(name.rpartition("-")[2]) for name in self.workers]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


class ForkedCommands:
    """Runs commands as `forked_commands.py` does: the same, but for a second of imports."""

    def __init__(self, folder: Path) -> None:
        self._stdout, self._stderr = folder / "stdout", folder / "stderr"
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forked_commands.py"))],
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
        """End; no command runs any more."""
        self._server.communicate(timeout=10)


def fornada(*arguments: str) -> list[str]:
    """The command line of `fornada ARGUMENTS`."""
    return [sys.executable, "-m", "fornada", *arguments]


def own_environ() -> dict[str, str]:
    """This process's environment without a deployment of the developer's own."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("FORNADA_", "AWS_"))}


@pytest.fixture(scope="session")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedCommands]:
    """Commands that need not import everything anew."""
    forked = ForkedCommands(tmp_path_factory.mktemp("forked"))
    yield forked
    forked.close()


@pytest.fixture(scope="module")
def deployment(
    servers: Stack, forked: ForkedCommands, tmp_path_factory: pytest.TempPathFactory
) -> Deployment:
    """A new bucket with two models, an empty queue, and nobody who works on it."""
    bucket = f"test-{uuid.uuid4().hex[:12]}"
    environ = {
        **own_environ(),
        **servers.environ,
        "FORNADA_S3_BUCKET": bucket,
        "FORNADA_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
    }
    deployment = Deployment(environ=environ, settings=Settings.from_env(environ), forked=forked)
    deployment.objects.create_bucket()
    with deployment.redis() as client:
        # The random password in the URL proves that the server is ours to empty.
        client.flushall()
    deployment.publish("digits")
    deployment.publish("floats", "float32")
    return deployment


@pytest.fixture(scope="session")
def live(
    forked: ForkedCommands, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveDeployment]:
    """Servers of its own with one worker, and a trained model `digits`, also as `@prod`."""
    environ = {**own_environ(), "FORNADA_RECONCILE_INTERVAL_S": "0.5"}
    data_dir = tmp_path_factory.mktemp("live")
    with Stack(data_dir=data_dir, workers=1, environ=environ) as stack:
        live = LiveDeployment(
            environ={**environ, **stack.environ},
            settings=stack.settings,
            forked=forked,
            worker_log=stack.logs_dir / "workers.log",
            signs_dir=stack.settings.cache_dir / "workers",
        )
        options = ["--dataset", "digits", "--epochs", "1", "--promote", "prod"]
        trained = live.answer("train", *options, "--name", "digits")
        assert "digits:1" == trained["model"]
        yield live
