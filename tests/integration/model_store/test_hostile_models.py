"""Small files that would take a machine: each ends within the limits of the wall.

`pytest -rP -m "slow or soak"` shows the time and the memory that each takes.
"""

import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fornada.errors import ModelRefusedError
from fornada.storage.memory import InMemoryObjectStore
from model_store.publishing.file import publish_file
from model_store.store import ModelStore
from model_store.wall.limits import WallLimits
from model_store.wall.process import WallProcess

from .hostile_files import (
    HOSTILE,
    PUBLISHED,
    Config,
    Members,
    harmless,
    layer,
    packed,
    pooled,
    sequential,
)

#: Each runs until the wall's time is over, as others of its kind do.
_AT_LENGTH = {
    "window of 2^17",
    "large numbers 200 times",
    "unrolled steps",
    "a layer for each step",
}
_TIME_S = 40.0
#: On top of the wall's time: hashing, storing, and ending what it started.
_MARGIN_S = 10.0


@pytest.fixture(scope="module")
def weights() -> Members:
    """The members of a harmless file of one Dense."""
    return harmless()


def _shorter(limits: WallLimits) -> WallLimits:
    return replace(limits, time_s=_TIME_S)


@contextmanager
def _peaks() -> Iterator[dict[int, int]]:
    """The most memory that each process which runs meanwhile has held, by its number."""
    peaks: dict[int, int] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            for child in psutil.Process().children(recursive=True):
                with contextlib.suppress(OSError, StopIteration):
                    lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
                    peak = next(line for line in lines if line.startswith("VmHWM:"))
                    peaks[child.pid] = int(peak.split()[1]) * 1024

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()


def _publish(members: Members) -> str:
    """Publish a file of these members; say what became of it."""
    models = ModelStore(
        objects=InMemoryObjectStore(), open_wall=lambda limits: WallProcess(_shorter(limits))
    )
    artifact = packed(members)
    began_s = time.monotonic()
    end = PUBLISHED
    with _peaks() as peaks:
        try:
            publish_file(artifact, where="m.keras", name="m", models=models)
        except ModelRefusedError as exc:
            end = str(exc)
    # Two requests, each with its own time.
    took_s = time.monotonic() - began_s
    assert took_s < 2 * _TIME_S + _MARGIN_S
    # Pages of files are no data.
    peak_bytes, limits = max(peaks.values(), default=0), WallLimits.of_artifact(len(artifact))
    assert peak_bytes < limits.data_bytes + 2**30
    print(f"{len(artifact):9} bytes: {took_s:5.1f} s, {peak_bytes / 2**20:5.0f} MiB: {end[:90]}")  # noqa: T201 - told as well
    assert (end == PUBLISHED) == (models.names() == ["m"])
    return end


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.soak if name in _AT_LENGTH else pytest.mark.slow)
        for name in HOSTILE
    ],
)
def test_a_hostile_file_ends_as_it_has_to_within_the_limits(name: str, weights: Members) -> None:
    file = HOSTILE[name]

    end = _publish(file.change(weights))

    assert re.search(file.end, end), end


_SIZES = st.integers(0, 31).flatmap(lambda bits: st.integers(1, 2**bits))
_LAYERS = st.one_of(
    st.builds(lambda n: layer("UpSampling1D", size=n), _SIZES),
    st.builds(lambda n: layer("ZeroPadding1D", padding=n), _SIZES),
    *(
        st.builds(
            lambda n, s, pool=pool: layer(pool, pool_size=n, strides=s, padding="same"),
            _SIZES,
            _SIZES,
        )
        for pool in ("MaxPooling1D", "AveragePooling1D")
    ),
    st.builds(lambda n, m: layer("Reshape", target_shape=[n, m]), _SIZES, _SIZES),
    st.builds(lambda n: layer("Dense", units=n), _SIZES),
    st.builds(
        lambda n, k, d: layer("Conv1D", filters=n, kernel_size=k, dilation_rate=d, padding="same"),
        _SIZES,
        _SIZES,
        _SIZES,
    ),
    st.builds(lambda n: layer("LSTM", units=n, return_sequences=True), _SIZES),
    st.builds(lambda n: layer("SimpleRNN", units=n, unroll=True, return_sequences=True), _SIZES),
    st.builds(lambda: layer("Softmax")),
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=12, deadline=None)
@given(layers=st.lists(_LAYERS, min_size=1, max_size=6), depth=st.integers(0, 30))
def test_whatever_sizes_and_depths_a_file_has_it_ends_within_the_limits(
    layers: list[Config], depth: int, weights: Members
) -> None:
    config = pooled(*layers)
    for _ in range(depth):
        config = sequential(config)

    _publish({**weights, "config.json": json.dumps(config).encode()})
