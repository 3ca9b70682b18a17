"""The process behind the wall: what it is given, what it may take, and how it ends."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fornada.errors import ConfigError, ModelRefusedError, ModelWallError
from model_store.engines.arithmetic import ArithmeticModel
from model_store.store import ModelStore
from model_store.testing import publish_for_test
from model_store.wall.limits import WallLimits
from model_store.wall.messages import Check
from model_store.wall.process import WallProcess

_LIMITS = WallLimits(data_bytes=2**30, time_s=30.0)


@pytest.fixture
def request_of(tmp_path: Path, models: ModelStore) -> Callable[..., Check]:
    """`request_of(delay_s=…, artifact=…)`: a check of a published model, or of another artifact."""

    def made(*, artifact: ArithmeticModel | None = None) -> Check:
        publish_for_test(models, item_shape=[200, 1000], classes=["a", "b"])
        manifest = models.resolve("m")
        files = {
            "artifact": manifest.artifact,
            "inputs": manifest.golden.inputs,
            "outputs": manifest.golden.outputs,
        }
        for name, ref in files.items():
            models.download(ref, tmp_path / name)
        if artifact is not None:
            (tmp_path / "artifact").write_bytes(artifact.to_json())
        return Check(
            artifact=str(tmp_path / "artifact"),
            where="model m",
            allowed_objects=[],
            engine="test",
            inputs=manifest.inputs,
            outputs=manifest.outputs,
            golden_inputs=str(tmp_path / "inputs"),
            golden_outputs=str(tmp_path / "outputs"),
        )

    return made


def test_a_model_that_reproduces_its_golden_batch_passes_and_another_is_refused(
    request_of: Callable[..., Check],
) -> None:
    request = request_of()

    with WallProcess(_LIMITS) as wall:
        passed = wall.check(request)
        Path(request.artifact).write_bytes(ArithmeticModel(output_count=2, seed=1).to_json())
        with pytest.raises(ModelRefusedError, match="outputs of its golden batch"):
            wall.check(request)
        with pytest.raises(ConfigError, match="FORNADA_ENGINE=none names no engine"):
            wall.check(request.model_copy(update={"engine": "none"}))

    assert "test 1" == passed.engine
    assert 10 * 2**20 < passed.peak_bytes < 2**30


def test_calls_are_made_with_the_rows_that_are_asked_for_within_the_limit(
    request_of: Callable[..., Check],
) -> None:
    request = request_of()

    with WallProcess(_LIMITS) as wall:
        (call,) = wall.check(request.model_copy(update={"tile_items": 100})).calls
        with pytest.raises(ModelWallError, match=r"model m .* 1\.0 GiB"):
            wall.check(request.model_copy(update={"tile_items": 60_000}))

    # at 200,000 bytes an item
    assert 100 == call.tile_items
    assert 100 * 200_000 < call.peak_bytes < 2**30


def test_a_model_may_not_take_more_memory_than_the_limit(
    request_of: Callable[..., Check],
) -> None:
    large = request_of(artifact=ArithmeticModel(output_count=10_000))
    with WallProcess(_LIMITS) as wall, pytest.raises(ModelWallError, match=r"model m .* 1\.0 GiB"):
        wall.check(large)


@pytest.mark.timeout(30)
def test_a_model_may_not_take_more_time_than_the_limit(request_of: Callable[..., Check]) -> None:
    slow = request_of(artifact=ArithmeticModel(output_count=2, delay_s=60))
    short = WallLimits(data_bytes=2**30, time_s=1.0)
    with WallProcess(short) as wall, pytest.raises(ModelWallError, match=r"model m .* than 1 s"):
        wall.check(slow)


_SAID = """
import os, subprocess, sys
child = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
print(child.pid, file=open({pid!r}, "w"), flush=True)
sys.stdin.readline()
{then}
"""


@pytest.mark.parametrize(
    ("then", "how"),
    [
        ("os.abort()", "ends with SIGABRT"),
        ("sys.exit('nothing to say')", "ends with exit code 1: nothing to say"),
        ("print('{}', flush=True)", "answers something else"),
        ("print('x' * 2**26, flush=True)", "answers something else"),
        ("sys.stderr.write('std::bad_alloc'); sys.stderr.flush(); os.abort()", "GiB of memory"),
        ("import time; time.sleep(600)", "takes more than 1 s"),
    ],
)
def test_however_it_ends_nothing_of_it_stays(
    then: str,
    how: str,
    request_of: Callable[..., Check],
    tmp_path: Path,
    wait_until: Callable[..., None],
) -> None:
    # given a process that has started another
    pid_file = tmp_path / "pid"
    program = _SAID.format(pid=str(pid_file), then=then)
    limits = WallLimits(data_bytes=2**30, time_s=1.0)
    request = request_of()
    with WallProcess(limits, command=[sys.executable, "-c", program]) as wall:
        wait_until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
        with pytest.raises(ModelWallError, match=how):
            wall.check(request)

    pid = int(pid_file.read_text())
    wait_until(lambda: _is_gone(pid))


def test_it_has_nothing_of_our_environment(
    monkeypatch: pytest.MonkeyPatch, request_of: Callable[..., Check], tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("FORNADA_DEPLOYMENT_KEYS", "secret")
    told = tmp_path / "told"
    program = f"import json, os; json.dump(dict(os.environ), open({str(told)!r}, 'w'))"

    with (
        WallProcess(_LIMITS, command=[sys.executable, "-c", program]) as wall,
        pytest.raises(ModelWallError, match="ends with exit code 0"),
    ):
        wall.check(request_of())

    environ = json.loads(told.read_text())
    assert "secret" not in str(environ)
    assert "-1" == environ["CUDA_VISIBLE_DEVICES"]
    assert not Path(environ["HOME"]).exists()


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except OSError:
        return True
